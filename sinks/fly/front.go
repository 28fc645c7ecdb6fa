package fly

import "github.com/anycert/anycert"

var _ anycert.Fronted = (*Sink)(nil)

// Front is the hostname of a target: Fly.io's proxy serves it to whoever its DNS record
// leads there.
func (s *Sink) Front(target anycert.Target) anycert.Front {
	return anycert.Front{
		Names:  []string{target.Label},
		Public: "https://"+s.host == DefaultEndpoint,
		Keeper: "Fly.io",
		Remedy: "look whether the DNS record of " + target.Label + " leads to the app (`fly certs check " + anycert.ShellWord(target.Label) +
			" --app " + anycert.ShellWord(s.app) + "`); what it took and does not serve within the hour is for Fly.io's support",
	}
}
