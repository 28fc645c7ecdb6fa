package hubs

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/world"
)

// A configuration for a later anycert is refused with one mistake, and a daemon goes
// on by the last good one.
func TestNewerConfiguration(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	config := f.hub("hub.yaml", "example")
	good := read(t, config)
	d := f.start(config)
	f.filled("example")
	newer := strings.Replace(good, "version: 1", "version: 2\nfuture: {everything: differs}", 1)
	f.Must(os.WriteFile(config, []byte(newer), 0o600))
	const says = "hub.yaml:1:10: version: format 2 is for a later anycert: this one reads format 1"
	if got := f.Run(config, "check"); got.Code != 1 || !got.Says(says) || !got.Says("1 mistake in") {
		t.Error(got)
	}
	d.HangUp()
	d.AwaitUnready(says)
	f.breaks("example")
	d.Await("mends by the last good configuration", func() error { return f.holds("example") })
	f.Must(os.WriteFile(config, []byte(good), 0o600))
	d.HangUp()
	d.AwaitReady()
	f.issuedOnce("example")
}

// The metadata of an entry that a later anycert wrote is left alone. The certificate
// itself is read, once, and served; it is not renewed.
func TestNewerIndex(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	config := f.hub("hub.yaml", "example")
	f.Kept(f.Report(0, config, "sync"))
	const path = "anycert/certs/example"
	kv := f.Vault.Client().KVv2("secret")
	f.Must(kv.PatchMetadata(t.Context(), path, api.KVMetadataPatchInput{CustomMetadata: map[string]any{"anycert-schema": "2", "anycert-future": "yes"}}))
	custom := func() map[string]any {
		entry, err := kv.GetMetadata(t.Context(), path)
		f.Must(err)
		return entry.CustomMetadata
	}
	before, m := custom(), f.Now()
	d := f.start(config)
	f.passes(5) // the first reads the certificate; each reads the metadata twice
	f.calm("over a newer index")
	f.breaks("example")
	d.Await("serves what it can read", func() error { return f.holds("example") })
	if status, text, err := d.Get(t.Context(), "/health/ready"); err != nil || status != 200 {
		t.Errorf("/health/ready: %d %s (%v)", status, text, err)
	}
	d.End()
	f.onlyInVault(m, nil)

	const says = "its metadata has schema 2 and was written by a later anycert"
	for _, p := range f.Report(1, config, "audit").Promises { // which reads no key
		if p.Verdict != "unknown" || !strings.Contains(p.Reason, says) {
			t.Errorf("an audit says %v", p)
		}
	}
	f.redeclare(config) // so that it is due
	got := f.Run(config, "sync")
	if got.Code != 1 || !got.Says(says) {
		t.Error(got)
	}
	f.issuedOnce("example")
	f.onlyInVault(m, nil)
	if after := custom(); !maps.EqualFunc(before, after, func(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) {
		t.Errorf("the metadata was %v, it is %v", before, after)
	}
}

// A journal, and an account, that a later anycert wrote: no order is made, and neither
// is written.
func TestNewerRecords(t *testing.T) {
	t.Parallel()
	for name, record := range map[string]struct{ path, value, says string }{
		"journal": {"anycert/orders/example", `{"schema":2,"future":true}`, "the journal orders/example was written by a newer anycert"},
		"account": {"anycert/accounts/pebble", `{"schema":2,"future":true}`, "the ACME account accounts/pebble was written by a newer anycert"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			config := f.hub("hub.yaml", "example")
			kv := f.Vault.Client().KVv2("secret")
			_, err := kv.Put(t.Context(), record.path, map[string]any{"value": record.value})
			f.Must(err)
			m := f.Now()
			for range 2 {
				if got := f.Run(config, "sync"); got.Code != 1 || !got.Says(record.says) || !got.Says("upgrade this one") {
					t.Error(got)
				}
			}
			if n := len(f.ACME.Orders()); n != 0 {
				t.Errorf("%d orders were made", n)
			}
			// Its own journal it may write: it is of a form that the newer one knows.
			f.onlyInVault(m, []string{"secret/data/anycert/orders/example"})
			entry, err := kv.Get(t.Context(), record.path)
			f.Must(err)
			if entry.VersionMetadata.Version != 1 || entry.Data["value"] != record.value {
				t.Errorf("the record is at version %d: %v", entry.VersionMetadata.Version, entry.Data)
			}
		})
	}
}

// What carries the mark of a later anycert is refused, stays as it is, and is no
// orphan that could be pruned.
func TestNewerMarks(t *testing.T) {
	t.Parallel()
	f := newFleet(t, cluster)
	config := f.hub("hub.yaml", "example")
	f.Kept(f.Report(0, config, "sync"))

	secrets := f.Clusters[cluster].Client().CoreV1().Secrets("web")
	secret, err := secrets.Get(t.Context(), "example-tls", metav1.GetOptions{})
	f.Must(err)
	secret.Annotations["anycert.dev/schema"] = "2"
	_, err = secrets.Update(t.Context(), secret, metav1.UpdateOptions{})
	f.Must(err)

	mark := f.Path("files/example/mark.json")
	var signature map[string]any
	f.Must(json.Unmarshal([]byte(read(t, mark)), &signature))
	signature["schema"], signature["future"] = 2, true
	text, err := json.Marshal(signature)
	f.Must(err)
	f.Must(os.WriteFile(mark, text, 0o600))

	for _, object := range f.Fastly.Certificates() {
		f.Fastly.RenameCertificate(object.ID, object.Name+" and something that is new")
	}

	f.Put("example", testenv.IssueFrom(t, f.Strangers, certs.Options{Names: certificates["example"]}))
	before := f.everythingMarked()
	refused := map[string]string{"prod": "later anycert", "nginx": "later anycert", "edge": ""}
	for _, report := range []world.Report{f.Report(1, config, "sync"), f.Report(2, config, "audit")} {
		for _, p := range report.Promises {
			says, marked := refused[p.Sink]
			if marked && (p.Verdict != "refused" || !strings.Contains(p.Reason, says)) || !marked && p.Verdict != "kept" {
				t.Errorf("%v", p)
			}
		}
	}
	undeclared := f.Config("undeclared.yaml", strings.ReplaceAll(read(t, config), "name: example", "name: another"), nil)
	f.Must(os.WriteFile(undeclared, []byte(strings.ReplaceAll(read(t, undeclared), "certificates: [example]", "certificates: [another]")), 0o600))
	if got := f.Run(undeclared, "prune", "--yes"); got.Code != 0 {
		t.Error(got)
	}
	if after := f.everythingMarked(); !slices.Equal(before, after) {
		t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// everythingMarked is what the places with marks hold of example, as text.
func (f *fleet) everythingMarked() []string {
	f.T.Helper()
	secret, err := f.Clusters[cluster].Client().CoreV1().Secrets("web").Get(f.T.Context(), "example-tls", metav1.GetOptions{})
	f.Must(err)
	all := []string{"Secret " + secret.ResourceVersion}
	for _, object := range f.Fastly.Certificates() {
		all = append(all, "Fastly "+object.ID+" "+object.Name+" active "+f.Fastly.Active(world.TLSConfiguration, "example.com"))
	}
	for _, key := range f.Fastly.Keys() {
		all = append(all, "Fastly "+key.ID)
	}
	files := f.ListFiles()
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if filepath.Base(path) != "lock" {
			all = append(all, path+" "+files[path])
		}
	}
	return all
}

// redeclare asks for another kind of key, so that the certificate is due.
func (f *fleet) redeclare(config string) {
	f.T.Helper()
	text := strings.Replace(read(f.T, config), "issuer: pebble}", "issuer: pebble, key_type: ec384}", 1)
	f.Must(os.WriteFile(config, []byte(text), 0o600))
}

// onlyInVault expects that of what Vault holds nothing was written since m, but what is
// allowed.
func (f *fleet) onlyInVault(m world.Moment, allowed []string) {
	f.T.Helper()
	for _, r := range f.VaultSince(m) {
		switch r.Operation {
		case "create", "update", "patch", "delete":
			if strings.HasPrefix(r.Path, "secret/") && !slices.Contains(allowed, r.Path) {
				f.T.Errorf("%s %s", r.Operation, r.Path)
			}
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
