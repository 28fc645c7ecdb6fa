package kubernetes

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/anycert/anycert"
)

// Sink holds copies in the namespaces of one cluster. It is safe for concurrent use.
type Sink struct {
	config   Config
	owner    string // in every mark
	manager  string // our field manager: it names the owner, so that two hubs differ
	template nameTemplate
	adopt    map[string]bool // addresses
	cluster  *cluster
	voice    voice // what was told as Events
}

var (
	_ anycert.SinkConfig    = Config{}
	_ anycert.Sink          = (*Sink)(nil)
	_ anycert.Surveyor      = (*Sink)(nil)
	_ anycert.OrphanLister  = (*Sink)(nil)
	_ anycert.OrphanRemover = (*Sink)(nil)
	_ anycert.Prober        = (*Sink)(nil)
	_ anycert.Teller        = (*Sink)(nil)
	_ anycert.Adviser       = (*Sink)(nil)
)

// Open makes the sink. It reads the kubeconfig, the CA or the pod's service
// account, and asks nobody.
func (c Config) Open(env anycert.SinkEnv) (anycert.Sink, error) {
	template, err := parseTemplate(c.Secret)
	if err != nil {
		return nil, fmt.Errorf("sink %q: secret: %w", env.Name, err)
	}
	cluster, err := c.connect(env)
	if err != nil {
		return nil, fmt.Errorf("sink %q: %w", env.Name, err)
	}
	sink := &Sink{
		config:   c,
		owner:    env.Owner,
		manager:  us + "/" + env.Owner,
		template: template,
		adopt:    make(map[string]bool, len(c.Adopt)),
		cluster:  cluster,
	}
	for _, place := range c.Adopt {
		sink.adopt[place] = true
	}
	return sink, nil
}

// Observe reads the Secret by its name, which is all that the Role must allow.
func (s *Sink) Observe(ctx context.Context, target anycert.Target) (anycert.Observed, error) {
	secret, err := s.read(ctx, target)
	var gone *missingError
	if errors.As(err, &gone) || err == nil && secret == nil {
		return anycert.Observed{}, nil
	}
	if err != nil {
		return anycert.Observed{}, err
	}
	return forTarget(s.inspect(secret), target), nil
}

func (s *Sink) read(ctx context.Context, target anycert.Target) (*corev1.Secret, error) {
	at, err := parseAddress(target.Label)
	if err != nil {
		return nil, fmt.Errorf("target of certificate %q: %w", target.Certificate, err)
	}
	return s.cluster.get(ctx, at)
}
