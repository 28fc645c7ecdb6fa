// Package alertmanager runs Prometheus' Alertmanager from Debian on a loopback port, and
// asks it what it was told.
package alertmanager

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/anycert/anycert/internal/testenv/parts"
	"github.com/anycert/anycert/internal/testenv/process"
)

// Server is a running Alertmanager. What resolves is sent to a webhook at once.
type Server struct {
	URL     string
	process *process.Process
}

const config = `
route:
  receiver: hook
  group_by: ["..."]
  group_wait: 1s
  group_interval: 1s
receivers:
  - name: hook
    webhook_configs:
      - url: %q
        send_resolved: true
`

// Start starts one with its files in dir. It sends what it tells to hook, a URL.
func Start(ctx context.Context, dir, hook string) (*Server, error) {
	program, err := parts.Program("prometheus-alertmanager")
	if err != nil {
		return nil, err
	}
	addr, err := process.FreeAddr()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(path, fmt.Appendf(nil, config, hook), 0o600); err != nil {
		return nil, err
	}
	s := &Server{URL: "http://" + addr}
	s.process, err = process.Start(process.Spec{Name: "alertmanager", Path: program, Dir: dir, Args: []string{
		"--config.file=" + path, "--storage.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + addr, "--cluster.listen-address="}})
	if err != nil {
		return nil, err
	}
	if err := s.process.WaitUntil(ctx, "is ready", func(ctx context.Context) error {
		_, err := s.Alerts(ctx)
		return err
	}); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close ends the server.
func (s *Server) Close() { s.process.Stop() }

// Alert is one that is on.
type Alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

// Alerts are those that are on.
func (s *Server) Alerts(ctx context.Context) ([]Alert, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/api/v2/alerts", nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", response.Status)
	}
	var alerts []Alert
	return alerts, json.NewDecoder(response.Body).Decode(&alerts)
}
