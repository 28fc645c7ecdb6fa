package config

import (
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/anycert/anycert/reconcile"
)

// shortest is the shortest time between two passes that can be asked for. A pass
// that takes longer is not overtaken; this spares the APIs.
const shortest = 5 * time.Second

// parseSchedule reads a schedule, or tells what is wrong with it.
func parseSchedule(text string) (reconcile.Schedule, string) {
	if text == "" {
		text = DefaultSchedule
	}
	if strings.HasPrefix(text, "TZ=") || strings.HasPrefix(text, "CRON_TZ=") {
		if !strings.Contains(text, " ") {
			return nil, "after the time zone belong five fields, as in CRON_TZ=UTC */5 * * * *" // cron would panic
		}
	}
	schedule, err := cron.ParseStandard(text)
	if err != nil {
		return nil, "this is no schedule: write \"@every 1m\", or five fields as in a crontab, \"*/5 * * * *\""
	}
	if every, ok := schedule.(cron.ConstantDelaySchedule); ok && every.Delay < shortest {
		return nil, "this is too often: " + shortest.String() + " is the least"
	}
	if schedule.Next(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, "this moment never comes"
	}
	return schedule, ""
}
