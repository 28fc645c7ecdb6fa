package attacks

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// names climb, are endless, or are no names.
func names() []attack {
	const nothing = "; nothing is written"
	return []attack{
		{"name-climbs", "a certificate of the configuration is named `../../../etc/cron.d/x`", "exit 1: `is not a name`" + nothing, named(`"../../../etc/cron.d/x"`, "is not a name")},
		{"name-nul", "it is named `a\\0b`", "exit 1: `is not a name`" + nothing, named(`"a\0b"`, "is not a name")},
		{"name-long", "its name has 300 letters", "exit 1: `the name has 300 characters, 63 are allowed`" + nothing, named(strings.Repeat("a", 300), "the name has 300 characters, 63 are allowed")},
		{"name-ansi", "its name holds a terminal's escape codes and a line end", "exit 1: `is not a name`" + nothing + quiet, func(s *scene) string {
			r := s.Run(s.config(strings.Replace(toFiles, "name: example,", `name: "a\e[2J\nERROR b",`, 1)), "sync")
			return told(r, "is not a name") + s.written() + escapes(r)
		}},
		{"name-argument", "`anycert pull ../../etc/x`", "exit 1: `is not a name`" + nothing, func(s *scene) string {
			return told(s.Run(s.config(toFiles), "pull", "--dir", s.Files, "../../etc/x"), "is not a name") + s.written()
		}},
		{"names-listed", "Vault's listing holds names that climb, have a NUL, 300 letters, escape codes or a line end; `pull` is to fetch all", "exit 1; no one asks for them" + nothing + quiet, listed},
		{"place-climbs", "a namespace is named `../x`, a TLS configuration `../../service`, Vault's prefix `../sys`", "exit 1: `\"../x\" is not the name of a namespace`: `\"../../service\" is not the id of a TLS configuration`: `\"../sys\" is not a path in Vault`", func(s *scene) string {
			return told(s.Run(s.File("config.yaml", `version: 1
owner: hub
store: {vault: {address: "https://vault.example.com", prefix: ../sys}}
certificates: [{name: example, domains: [example.com]}]
sinks:
  - {name: prod, type: kubernetes, certificates: [example], config: {in_cluster: true, namespaces: [../x]}}
  - {name: edge, type: fastly, certificates: [example], config: {token: {env: TOKEN}, configurations: [../../service]}}
`), "check"), `"../x" is not the name of a namespace`, `"../../service" is not the id of a TLS configuration`, `"../sys" is not a path in Vault`)
		}},
		{"template-climbs", "the template of a Secret's name makes `../kube-system/x`", "exit 1: `which cannot be the name of a Secret`", template(`"../kube-system/{{ "{{ .Name }}" }}"`, "which cannot be the name of a Secret")},
		{"template-bomb", "the template makes a name of a million letters", "exit 1: `it makes more than 253 characters`", template(`'{{ "{{ printf \"%1000000s\" .Name }}" }}'`, "it makes more than 253 characters")},
	}
}

// named is a sync of a certificate of that name.
func named(name, word string) func(s *scene) string {
	return func(s *scene) string {
		return told(s.Run(s.config(strings.Replace(toFiles, "name: example,", "name: "+name+",", 1)), "sync"), word) + s.written()
	}
}

func listed(s *scene) string {
	asked := make(chan string, 100)
	server := s.hostile(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, "/secret/") {
			_, _ = io.WriteString(w, `{"data": {"ttl": 0}}`)
			return
		}
		if r.URL.Query().Get("list") != "true" {
			asked <- r.URL.Path
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"keys": []string{
			"../../../../etc/x", "a\x00b", strings.Repeat("a", 300), "\x1b[2Jx", "a\nlevel=ERROR msg=b", "..", ""}}})
	})
	r := s.Run(s.configAt(server.URL, s.Root(), ""), "pull", "--dir", s.Files)
	seen := "; no one asks for them"
	if len(asked) > 0 {
		seen = "; asked for: " + <-asked
	}
	return told(r) + seen + s.written() + escapes(r)
}

func template(text, word string) func(s *scene) string {
	return func(s *scene) string {
		return told(s.Run(s.config(`
certificates: [{name: example, domains: [example.com]}]
sinks: [{name: prod, type: kubernetes, certificates: ["*"], config: { {{.Admin "prod"}}, namespaces: [web], secret: `+text+`}}]
`), "check"), word)
	}
}
