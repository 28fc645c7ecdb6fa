package attacks

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert/internal/testenv/certs"
)

// clusters are other people's Secrets, and servers in the place of an API server.
func clusters() []attack {
	return []attack{
		{"secret-others", "a Secret with our label and the mark of another hub", "exit 1: `it belongs to the anycert with the owner \"other\"`; the Secret is untouched", func(s *scene) string {
			return s.besides(map[string]string{"anycert.dev/owner": "other", "anycert.dev/certificate": "example"}, `it belongs to the anycert with the owner "other"`)
		}},
		{"secret-claimed", "a Secret of cert-manager, to which somebody added our label", "exit 1: `it belongs to cert-manager`; the Secret is untouched", func(s *scene) string {
			return s.besides(map[string]string{"cert-manager.io/certificate-name": "shop"}, "it belongs to cert-manager")
		}},
		{"secret-costly", "whoever may write one Secret puts a certificate there that takes six seconds to verify", "exit 0: `replaced`", func(s *scene) string {
			s.issued("example", certs.Options{})
			path := s.toCluster(s.Admin("prod"), "")
			s.Kept(s.Report(0, path, "sync"))
			certificate, _ := costly(s)
			secrets := s.Clusters["prod"].Client().CoreV1().Secrets("web")
			secret, err := secrets.Get(s.T.Context(), s.id+"-tls", metav1.GetOptions{})
			s.Must(err)
			secret.Data["tls.crt"] = certificate
			_, err = secrets.Update(s.T.Context(), secret, metav1.UpdateOptions{FieldManager: "mallory"})
			s.Must(err)
			r, late := s.idle(4*time.Second, s.Command(path, "sync"))
			return told(r, "replaced") + late
		}},
		{"api-endless", "an API server answers without end", "exit 1: `the answer has more than 4194304 bytes`", func(s *scene) string {
			return s.syncAt(func(w http.ResponseWriter, _ *http.Request) { endless(w, `{"kind": "Secret", "x": "`) }, "", "the answer has more than 4194304 bytes")
		}},
		{"api-endless-item", "its list of Secrets has one without end", "exit 1: `the answer has more than 4194304 bytes`", func(s *scene) string {
			return s.syncAt(func(w http.ResponseWriter, _ *http.Request) {
				endless(w, `{"kind": "SecretList", "items": [{"metadata": {"name": "`)
			}, "list: true", "the answer has more than 4194304 bytes")
		}},
		{"api-endless-pages", "its list of Secrets has no last page", "exit 1: `the answer is not a list of Secrets`", func(s *scene) string {
			return s.syncAt(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, `{"kind": "SecretList", "metadata": {"continue": "more"}, "items": []}`)
			}, "list: true", "the answer is not a list of Secrets")
		}},
		{"api-redirect", "it redirects to another host", "exit 1: `which is not followed: name the server itself`; the other host is not visited", func(s *scene) string {
			other := s.elsewhere()
			return s.syncAt(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
			}, "", "which is not followed: name the server itself") + other.String()
		}},
		{"api-echo", "its errors repeat the request with key and token", "exit 1: `it answered 422 Unprocessable Entity`; it is not shown", echoed},
		{"api-impostor", "somebody else answers at its address, with a certificate of his own", "exit 1: `certificate signed by unknown authority`; nothing is sent", func(s *scene) string {
			s.issued("example", certs.Options{})
			server, _ := s.hostileTLS(func(http.ResponseWriter, *http.Request) { s.T.Error("the request came through") })
			return told(s.Run(s.toCluster(fmt.Sprintf("server: %q, ca: %s, token: %s", server.URL, s.File("ca.pem", string(s.Strangers.PEM())), s.Reference("t0ps3cr3t-of-the-test")), ""), "sync"),
				"certificate signed by unknown authority") + "; nothing is sent"
		}},
	}
}

// toCluster writes a configuration with one Secret, whose name is the scene's.
func (s *scene) toCluster(reach, more string) (path string) {
	s.T.Helper()
	return s.config(`
certificates: [{name: example, domains: [example.com]}]
sinks: [{name: prod, type: kubernetes, certificates: ["*"], config: {` + reach + `, namespaces: [web], secret: ` + s.id + `-tls, ` + more + `}}]
`)
}

// besides is a sync where a Secret of others is in the place of ours.
func (s *scene) besides(annotations map[string]string, word string) string {
	s.T.Helper()
	s.issued("example", certs.Options{})
	pair := s.issued("other", certs.Options{})
	secrets := s.Clusters["prod"].Client().CoreV1().Secrets("web")
	made, err := secrets.Create(s.T.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: s.id + "-tls", Labels: map[string]string{"app.kubernetes.io/managed-by": "anycert"}, Annotations: annotations},
		Type:       corev1.SecretTypeTLS, Data: map[string][]byte{"tls.crt": pair.ChainPEM, "tls.key": pair.KeyPEM},
	}, metav1.CreateOptions{FieldManager: "other"})
	s.Must(err)
	r := s.Run(s.toCluster(s.Admin("prod"), ""), "sync")
	after, err := secrets.Get(s.T.Context(), made.Name, metav1.GetOptions{})
	s.Must(err)
	if after.ResourceVersion != made.ResourceVersion {
		return told(r, word) + "; the Secret was changed"
	}
	return told(r, word) + "; the Secret is untouched"
}

// syncAt is a sync with a server in the place of an API server.
func (s *scene) syncAt(answer http.HandlerFunc, more, word string) string {
	s.T.Helper()
	s.issued("example", certs.Options{})
	server, ca := s.hostileTLS(answer)
	path := s.toCluster(fmt.Sprintf("server: %q, ca: %s, token: %s", server.URL, ca, s.Reference("t0ps3cr3t-of-the-test")), more)
	r, late := s.timed(20*time.Second, s.Command(path, "sync"))
	return told(r, word) + late
}

func echoed(s *scene) string {
	pair := s.issued("example", certs.Options{})
	server, ca := s.hostileTLS(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodGet {
			w.WriteHeader(http.StatusNotFound)
			_, _ = fmt.Fprintf(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "details": {"name": %q, "kind": "secrets"}}`, s.id+"-tls")
			return
		}
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = fmt.Fprintf(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Invalid", "code": 422, "message": %q}`, r.Header.Get("Authorization")+string(body))
	})
	const secret = "t0ps3cr3t-of-the-test"
	path := s.toCluster(fmt.Sprintf("server: %q, ca: %s, token: %s", server.URL, ca, s.Reference(secret)), "")
	r := s.Run(path, "sync", "--log-level", "debug")
	return told(r, "it answered 422 Unprocessable Entity") + s.unseen(r, secret, string(pair.KeyPEM))
}

// kubeconfigs lead elsewhere, or run commands.
func kubeconfigs() []attack {
	return []attack{
		{"kubeconfig-written", "others may write the kubeconfig, which can name any command to run", "exit 1: `others may write it (mode 0622): chmod go-w`; the command is not run", func(s *scene) string {
			path := s.kubeconfig("{exec: {apiVersion: client.authentication.k8s.io/v1, command: touch, args: [" + s.Path("ran") + "], interactiveMode: Never}}")
			s.Must(os.Chmod(s.Path("kubeconfig"), 0o622))
			r := s.Run(path, "sync")
			return told(r, "others may write it (mode 0622): chmod go-w") + s.ran("; the command is not run")
		}},
		{"kubeconfig-plugin", "its credential plugin is a shell command in one text", "exit 1: `which is not here`; the command is not run", func(s *scene) string {
			r := s.Run(s.kubeconfig(`{exec: {apiVersion: client.authentication.k8s.io/v1, command: "touch `+s.Path("ran")+`; true", interactiveMode: Never}}`), "sync")
			return told(r, "which is not here") + s.ran("; the command is not run")
		}},
		{"kubeconfig-hangs", "its credential plugin hangs", "exit 1: `no answer in time`; other sinks are served", func(s *scene) string {
			path := s.kubeconfig(`{exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, args: [-c, "echo $$ > ` + s.Path("pid") + `; exec sleep 600"], interactiveMode: Never}}`)
			cmd := s.Command(path, "sync")
			cmd.WaitDelay = time.Second // it outlives anycert
			r, late := s.timed(50*time.Second, cmd)
			plugin, err := strconv.Atoi(strings.TrimSpace(read(s, "pid")))
			s.Must(err)
			s.Must(syscall.Kill(plugin, syscall.SIGKILL))
			if !strings.Contains(s.served(), "BEGIN CERTIFICATE") {
				late += "; the file sink was not served"
			}
			return told(r, "no answer in time") + "; other sinks are served" + late
		}},
		{"kubeconfig-insecure", "it says insecure-skip-tls-verify", "exit 1: `insecure-skip-tls-verify is set: private keys would be sent to whoever answers`", func(s *scene) string {
			path := s.kubeconfig("{token: x}")
			text, err := os.ReadFile(s.Path("kubeconfig"))
			s.Must(err)
			s.File("kubeconfig", strings.Replace(string(text), "cluster: {", "cluster: {insecure-skip-tls-verify: true, ", 1))
			return told(s.Run(path, "sync"), "insecure-skip-tls-verify is set: private keys would be sent to whoever answers")
		}},
	}
}

// kubeconfig writes one with a user, and the configuration of a hub that goes by it
// and has a file sink as well.
func (s *scene) kubeconfig(user string) (config string) {
	s.T.Helper()
	s.issued("example", certs.Options{})
	s.File("kubeconfig", `
apiVersion: v1
kind: Config
current-context: prod
clusters: [{name: a, cluster: {server: "`+s.Clusters["prod"].Host+`"}}]
users: [{name: me, user: `+user+`}]
contexts: [{name: prod, context: {cluster: a, user: me}}]
`)
	return s.config(`
certificates: [{name: example, domains: [example.com]}]
sinks:
  - {name: prod, type: kubernetes, certificates: ["*"], config: {kubeconfig: ` + s.Path("kubeconfig") + `, namespaces: [web], secret: ` + s.id + `-tls}}
  - {name: files, type: file, certificates: ["*"], config: {dir: {{.Files}}}}
`)
}

// ran is not, unless a command left its trace.
func (s *scene) ran(not string) string {
	if _, err := os.Lstat(s.Path("ran")); err == nil {
		return "; THE COMMAND WAS RUN"
	}
	return not
}
