package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/anycert/anycert"
	"github.com/anycert/anycert/internal/failures"
)

// Probe asks the API server what we may do in each namespace. It asks for rules
// (SelfSubjectRulesReview), since a Role that names its Secrets answers no question
// about Secrets in general. Where the server does not know all rules, as with an
// authorizer outside of the cluster, a missing one is not an error.
func (s *Sink) Probe(ctx context.Context) error {
	var failed []error
	for _, namespace := range s.config.Namespaces {
		rules, err := s.cluster.rules(ctx, namespace)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		if missing := rules.missing(s.config.List); len(missing) > 0 {
			failed = append(failed, fmt.Errorf("namespace %s in %s: %w: a rule for secrets with %s is missing: add it to the Role there, or create the namespace",
				namespace, s.cluster.server, anycert.ErrForbidden, strings.Join(missing, ", ")))
		}
	}
	return failures.Join(failed...)
}

// Advise tells where the right to make Events is not given.
func (s *Sink) Advise(ctx context.Context) (string, error) {
	var silent []string
	for _, namespace := range s.config.Namespaces {
		rules, err := s.cluster.rules(ctx, namespace)
		if err != nil {
			return "", err
		}
		if !rules.tell() {
			silent = append(silent, namespace)
		}
	}
	if len(silent) == 0 {
		return "", nil
	}
	return fmt.Sprintf("no Events are made about its Secrets in %s: where they are wanted, a Role there needs the rule %s, which `anycert policy` prints",
		strings.Join(silent, ", "), eventRule), nil
}

// tell reports whether Events can be made. Where the server does not know all rules, it
// may be.
func (r rules) tell() bool {
	if r.Incomplete {
		return true
	}
	verbs := map[string]bool{}
	for _, rule := range r.ResourceRules {
		if has(rule.APIGroups, "events.k8s.io") && has(rule.Resources, "events") && len(rule.ResourceNames) == 0 {
			for _, verb := range []string{"create", "patch"} {
				verbs[verb] = verbs[verb] || has(rule.Verbs, verb)
			}
		}
	}
	return verbs["create"] && verbs["patch"]
}

// rules is the part of a SelfSubjectRulesReview's status that is needed
// (https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/).
type rules struct {
	ResourceRules []struct{ Verbs, APIGroups, Resources, ResourceNames []string }
	Incomplete    bool
}

func (c *cluster) rules(ctx context.Context, namespace string) (rules, error) {
	doing := request{"review", address{namespace: namespace}}
	body, err := json.Marshal(map[string]any{
		"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
		"spec": map[string]string{"namespace": namespace},
	})
	if err != nil {
		return rules{}, fmt.Errorf("%s: %w", doing, err)
	}
	var answer struct{ Status rules }
	result := c.api.Post().AbsPath("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews").
		SetHeader("Content-Type", "application/json").Body(body).MaxRetries(0).Do(quiet(ctx))
	if err := result.Error(); err != nil {
		return rules{}, c.explain(ctx, doing, err)
	}
	raw, _ := result.Raw()
	if err := json.Unmarshal(raw, &answer); err != nil {
		return rules{}, fmt.Errorf("%s in %s: %w: the answer is not a review: check the server's address", doing, c.server, anycert.ErrUnavailable)
	}
	return answer.Status, nil
}

// missing lists the verbs that no rule allows on Secrets.
func (r rules) missing(list bool) []string {
	if r.Incomplete {
		return nil
	}
	verbs := []string{"get", "patch", "create"}
	if list {
		verbs = append(verbs, "list")
	}
	return slices.DeleteFunc(verbs, func(verb string) bool {
		for _, rule := range r.ResourceRules {
			byName := len(rule.ResourceNames) > 0 && (verb == "create" || verb == "list") // no name to match
			if has(rule.APIGroups, "") && has(rule.Resources, "secrets") && has(rule.Verbs, verb) && !byName {
				return true
			}
		}
		return false
	})
}

func has(all []string, one string) bool {
	return slices.Contains(all, one) || slices.Contains(all, "*")
}
