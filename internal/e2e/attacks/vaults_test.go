package attacks

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// vaults are servers in the place of Vault.
func vaults() []attack {
	answer := func(a http.HandlerFunc) func(s *scene) string {
		return func(s *scene) string {
			return s.syncWith(s.hostile(a).URL, "the answer has more than 4194304 bytes")
		}
	}
	return []attack{
		{"vault-endless", "Vault answers without end", "exit 1: `the answer has more than 4194304 bytes`", answer(func(w http.ResponseWriter, _ *http.Request) { endless(w, `{"data": "`) })},
		{"vault-endless-error", "its error is without end", "exit 1: `the answer has more than 4194304 bytes`", answer(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			endless(w, `{"errors": ["`)
		})},
		{"vault-deep", "it answers a megabyte of opening brackets", "exit 1: `not the answer of a KV version 2 secrets engine`", func(s *scene) string {
			return s.syncWith(s.hostile(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "lookup-self") {
					_, _ = io.WriteString(w, `{"data": {"ttl": 0}}`)
					return
				}
				_, _ = io.WriteString(w, strings.Repeat("[", 1<<20))
			}).URL, "not the answer of a KV version 2 secrets engine")
		}},
		{"vault-redirect", "it redirects to another host", "exit 1: `it redirects to another address, to which no token is sent`; the other host is not visited", func(s *scene) string {
			other := s.elsewhere()
			server := s.hostile(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
			})
			return s.syncWith(server.URL, "it redirects to another address, to which no token is sent") + other.String()
		}},
		{"vault-echo", "its errors repeat the request with its token", "exit 1: `permission denied`; it is not shown", func(s *scene) string {
			server := s.hostile(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusForbidden)
				_, _ = fmt.Fprintf(w, `{"errors": ["1 error occurred", "%s", "token %[1]s is not known"]}`, r.Header.Get("X-Vault-Token"))
			})
			r := s.Run(s.configAt(server.URL, s.Root(), toFiles), "sync", "--log-level", "debug")
			return told(r, "permission denied") + s.unseen(r, s.Vault.RootToken)
		}},
		{"vault-ansi", "its errors hold escape codes and line ends", "exit 1" + quiet, func(s *scene) string {
			server := s.hostile(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, `{"errors": ["\u001b[2J\nlevel=ERROR msg=x\u009b31m\r"]}`)
			})
			r := s.Run(s.configAt(server.URL, s.Root(), toFiles), "sync", "--log-level", "debug")
			return told(r) + escapes(r)
		}},
		{"vault-http", "Vault's address is http:// on another machine", "exit 1: `http:// sends keys in the clear to vault.example.com`", func(s *scene) string {
			return told(s.Run(s.configAt("http://vault.example.com:8200", s.Root(), toFiles), "check"), "http:// sends keys in the clear to vault.example.com")
		}},
		{"vault-unverified", "VAULT_SKIP_VERIFY is set", "exit 1: `VAULT_SKIP_VERIFY is set, and anycert gives keys to nobody unverified`", func(s *scene) string {
			cmd := s.Command(s.config(toFiles), "sync")
			cmd.Env = append(cmd.Env, "VAULT_SKIP_VERIFY=1")
			return told(s.Do(cmd), "VAULT_SKIP_VERIFY is set, and anycert gives keys to nobody unverified")
		}},
		{"vault-proxy", "HTTPS_PROXY leads to a proxy that answers in the place of Vault", "exit 1: `its certificate is not trusted`; the proxy sees `CONNECT vault.example.com:8200` and no token", proxied},
	}
}

// syncWith is a sync whose Vault is another server.
func (s *scene) syncWith(vault, word string) string {
	s.T.Helper()
	r, late := s.timed(20*time.Second, s.Command(s.configAt(vault, s.Root(), toFiles), "sync"))
	return told(r, word) + late
}

func proxied(s *scene) string {
	impostor, _ := s.hostileTLS(func(http.ResponseWriter, *http.Request) { s.T.Error("the request came through") })
	seen := make(chan string, 100)
	proxy := s.hostile(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Method + " " + r.Host + " " + fmt.Sprint(r.Header)
		to, err := net.Dial("tcp", impostor.Listener.Addr().String())
		if err != nil {
			return
		}
		defer to.Close()
		w.WriteHeader(http.StatusOK)
		from, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer from.Close()
		go func() { _, _ = io.Copy(to, buffered) }()
		_, _ = io.Copy(from, to)
	})
	cmd := s.Command(s.configAt("https://vault.example.com:8200", s.Root(), toFiles), "sync")
	cmd.Env = append(cmd.Env, "HTTPS_PROXY="+proxy.URL)
	told := told(s.Do(cmd), "its certificate is not trusted")
	first := <-seen
	if !strings.HasPrefix(first, "CONNECT vault.example.com:8200 ") || strings.Contains(first, s.Vault.RootToken) {
		return told + "; the proxy sees " + first
	}
	return told + "; the proxy sees `CONNECT vault.example.com:8200` and no token"
}
