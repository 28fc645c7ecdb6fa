// Package kubeserver runs the real kube-apiserver on an etcd of its own, with
// RBAC on and an audit log that can be counted. There is no kubelet and no
// controller: pods do not run and nothing is collected, the API is whole.
package kubeserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/parts"
	"github.com/anycert/anycert/internal/testenv/process"
)

// Server is a running kube-apiserver with its etcd. Its methods may be called
// by several goroutines at once.
type Server struct {
	Host       string // URL
	CAPEM      []byte // to trust for Host
	AdminToken string // of a user in system:masters
	Kubeconfig string // file of the administrator, its context is "admin"

	dir       string
	etcd, api *process.Process
}

// Options vary how a server is started. The zero value serves most tests.
type Options struct {
	APIServer, Etcd string // binaries; default: those that `make rig` built
}

// Start starts a server with its files in dir. It takes about four seconds.
func Start(ctx context.Context, dir string, o Options) (*Server, error) {
	s := &Server{dir: dir, AdminToken: rand.Text(), Kubeconfig: filepath.Join(dir, "admin.kubeconfig")}
	if err := s.start(ctx, o); err != nil {
		s.Close()
		return nil, err
	}
	if err := WriteKubeconfig(s.Kubeconfig, Entry{Context: "admin", Server: s, Token: s.AdminToken}); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, o Options) error {
	if err := find(&o.Etcd, parts.Etcd); err != nil {
		return err
	}
	if err := find(&o.APIServer, parts.KubeAPIServer); err != nil {
		return err
	}
	etcdURL, err := s.startEtcd(o.Etcd)
	if err != nil {
		return err
	}
	port, err := process.FreePort()
	if err != nil {
		return err
	}
	s.Host = fmt.Sprintf("https://127.0.0.1:%d", port)
	if err := s.writeFiles(); err != nil {
		return fmt.Errorf("writing kube-apiserver's files: %w", err)
	}
	s.api, err = process.Start(process.Spec{
		Name: "kube-apiserver", Path: o.APIServer, Args: s.flags(etcdURL, port), Dir: s.dir})
	if err != nil {
		return err
	}
	return s.api.WaitUntil(ctx, "is ready", s.ready)
}

func find(path *string, p parts.Part) (err error) {
	if *path == "" {
		*path, err = parts.Find(p)
	}
	return err
}

func (s *Server) startEtcd(binary string) (url string, err error) {
	client, err := process.FreeAddr()
	if err != nil {
		return "", err
	}
	peer, err := process.FreeAddr()
	if err != nil {
		return "", err
	}
	url = "http://" + client
	s.etcd, err = process.Start(process.Spec{Name: "etcd", Path: binary, Dir: s.dir, Args: []string{
		"--data-dir=" + filepath.Join(s.dir, "etcd"),
		"--listen-client-urls=" + url,
		"--advertise-client-urls=" + url,
		"--listen-peer-urls=http://" + peer,
		"--unsafe-no-fsync", // nobody needs the data after a power cut
		"--log-level=error",
	}})
	return url, err
}

func (s *Server) flags(etcdURL string, port int) []string {
	return []string{
		"--etcd-servers=" + etcdURL,
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--secure-port=%d", port),
		"--tls-cert-file=" + s.file("tls.crt"),
		"--tls-private-key-file=" + s.file("tls.key"),
		"--token-auth-file=" + s.file("tokens.csv"),
		"--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + s.file("accounts.key"),
		"--service-account-signing-key-file=" + s.file("accounts.key"),
		"--service-cluster-ip-range=10.0.0.0/24",
		"--disable-admission-plugins=ServiceAccount", // it waits for a controller
		"--endpoint-reconciler-type=none",
		"--audit-policy-file=" + s.file("audit.yaml"),
		"--audit-log-path=" + s.auditFile(),
		"--audit-log-mode=blocking",
	}
}

// auditPolicy logs who did what to what, once a request, without its content.
const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules: [{level: Metadata}]
`

func (s *Server) writeFiles() error {
	ca, err := certs.NewCA()
	if err != nil {
		return err
	}
	serving, err := ca.Issue(certs.Options{Names: []string{"127.0.0.1", "localhost"}})
	if err != nil {
		return err
	}
	s.CAPEM = ca.PEM()
	accounts, err := certs.NewKey(certs.EC256)
	if err != nil {
		return err
	}
	accountsPEM, err := certs.MarshalKey(accounts, certs.SEC1)
	if err != nil {
		return err
	}
	var failures error
	for name, text := range map[string][]byte{
		"tls.crt":      serving.ChainPEM,
		"tls.key":      serving.KeyPEM,
		"accounts.key": accountsPEM,
		"audit.yaml":   []byte(auditPolicy),
		"tokens.csv":   []byte(s.AdminToken + ",admin,admin,\"system:masters\"\n"),
		"audit.log":    nil,
	} {
		failures = errors.Join(failures, os.WriteFile(s.file(name), text, 0o600))
	}
	return failures
}

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }

// ready asks /readyz, which waits for the built-in roles too.
func (s *Server) ready(ctx context.Context) error {
	client, err := rest.HTTPClientFor(s.Config(s.AdminToken))
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Host+"/readyz", nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("/readyz: %s", response.Status)
	}
	return nil
}

// Close ends the server and its etcd.
func (s *Server) Close() {
	if s.api != nil {
		s.api.Kill() // in order it takes seconds
	}
	if s.etcd != nil {
		s.etcd.Kill()
	}
}

// PID returns kube-apiserver's process id.
func (s *Server) PID() int { return s.api.PID() }

// Config returns how to connect with a token; the client is not throttled.
func (s *Server) Config(token string) *rest.Config {
	return &rest.Config{
		Host:            s.Host,
		BearerToken:     token,
		TLSClientConfig: rest.TLSClientConfig{CAData: s.CAPEM},
		QPS:             -1,
		Timeout:         30 * time.Second,
		UserAgent:       "rig",
		WarningHandler:  rest.NoWarnings{},
	}
}

// Client returns a client of the administrator, with the user agent "rig".
func (s *Server) Client() kubernetes.Interface { return s.ClientWith(s.AdminToken) }

// ClientWith returns a client with a token, with the user agent "rig".
func (s *Server) ClientWith(token string) kubernetes.Interface {
	// The config is ours: there is nothing to fail.
	return kubernetes.NewForConfigOrDie(s.Config(token))
}
