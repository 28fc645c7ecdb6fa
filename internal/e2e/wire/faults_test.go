package wire

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anycert/anycert/internal/testenv"
	"github.com/anycert/anycert/internal/testenv/certs"
	"github.com/anycert/anycert/internal/testenv/process"
	"github.com/anycert/anycert/internal/testenv/world"
)

var update = flag.Bool("update", false, "write the table into docs/audit.md")

const (
	certificates = 1000
	ofEach       = 5 // certificates that have each fault
	harmless     = 10

	page  = "../../../docs/audit.md"
	begin = "<!-- written by: go test ./internal/e2e/wire -run TestTwentyFaults -update -->\n"
	end   = "<!-- end -->\n"
)

// fault is one thing that can be wrong with a certificate, somewhere between the
// configuration and the world.
type fault struct {
	what    string
	side    string // where it is: store, target or wire
	do      func(*scene, string)
	address string // that is looked at instead of the edge's
	verdict string
	wire    string // state; empty: nothing to be compared
}

// promise is one of an audit, with its four sides.
type promise struct {
	Certificate, Verdict string
	Declared             struct{ Names []string }
	Store, Holds         struct {
		Serial, Digest string
		Version        int
	}
	Wire struct {
		State, Text string
		Addresses   []struct{ IP, State, Serial, Digest string }
	}
}

func promises(t *testing.T, r world.Result) []promise {
	t.Helper()
	var report struct{ Promises []promise }
	if err := json.Unmarshal([]byte(r.Stdout), &report); err != nil || len(report.Promises) == 0 {
		t.Fatalf("%v: %v", err, r)
	}
	return report.Promises
}

// scene is a thousand certificates in Vault, in files, and on the wire.
type scene struct {
	*world.World
	edge  *edge
	pairs map[string]certs.Pair
}

func domain(name string) string { return name + ".example.com" }

func (s *scene) issue(name string, o certs.Options) certs.Pair {
	if o.Names == nil {
		o.Names = []string{domain(name)}
	}
	o.Intermediate = true
	return testenv.IssueFrom(s.T, s.Strangers, o)
}

// put writes the next version into Vault, as a person does.
func (s *scene) put(o certs.Options) func(*scene, string) {
	return func(s *scene, name string) { s.Put(name, s.issue(name, o)) }
}

// file is that of a certificate in its folder.
func (s *scene) file(name, file string) string { return filepath.Join(s.Files, name, file) }

func (s *scene) write(name string, pair certs.Pair, files ...string) {
	for _, file := range files {
		text := pair.ChainPEM
		if file == "privkey.pem" {
			text = pair.KeyPEM
		}
		s.Must(os.WriteFile(s.file(name, file), text, 0o600))
	}
}

func onWire(change func(*scene, string) certs.Pair, at ...string) func(*scene, string) {
	return func(s *scene, name string) { s.edge.show(domain(name), change(s, name), at...) }
}

func faults() []fault {
	soon := certs.Options{NotAfter: time.Now().Add(30 * 24 * time.Hour)}
	past := certs.Options{NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}
	issued := func(o certs.Options) func(*scene, string) certs.Pair {
		return func(s *scene, name string) certs.Pair { return s.issue(name, o) }
	}
	metadata := func(s *scene, name string) {
		s.Must(s.Vault.Client().KVv2("secret").DeleteMetadata(s.T.Context(), "anycert/certs/"+name))
	}
	return []fault{
		{"the store has nothing, and nothing ever was there", "store", func(s *scene, name string) {
			metadata(s, name)
			s.Must(os.RemoveAll(filepath.Join(s.Files, name)))
		}, "", "waiting", ""},
		{"the version in the store was deleted", "store", func(s *scene, name string) {
			s.Must(s.Vault.Client().KVv2("secret").Delete(s.T.Context(), "anycert/certs/"+name))
		}, "", "unknown", ""},
		{"the store was emptied, and the target knows better", "store", metadata, "", "held", ""},
		{"what is in the store has expired", "store", (*scene)(nil).put(past), "", "broken", "behind"},
		{"what is in the store is for another name", "store", (*scene)(nil).put(certs.Options{Names: []string{"www.example.org"}}), "", "broken", "behind"},
		{"what is in the store is a CA", "store", (*scene)(nil).put(certs.Options{IsCA: true}), "", "broken", "behind"},
		{"the target is gone", "target", func(s *scene, name string) { s.Must(os.Remove(filepath.Join(s.Files, name))) }, "", "broken", "served"},
		{"another certificate and its key lie there", "target", func(s *scene, name string) {
			s.write(name, s.issue(name, soon), "fullchain.pem", "privkey.pem")
		}, "", "broken", "served"},
		{"the key there is another", "target", func(s *scene, name string) { s.write(name, s.issue(name, soon), "privkey.pem") }, "", "broken", "served"},
		{"the chain there has no intermediate", "target", func(s *scene, name string) {
			pair := s.pairs[name]
			pair.ChainPEM = certs.ChainPEM(pair.Leaf())
			s.write(name, pair, "fullchain.pem")
		}, "", "broken", "served"},
		{"everybody may read the key there", "target", func(s *scene, name string) { s.Must(os.Chmod(s.file(name, "privkey.pem"), 0o644)) }, "", "broken", "served"},
		{"the mark there was removed", "target", func(s *scene, name string) { s.Must(os.Remove(s.file(name, "mark.json"))) }, "", "broken", "served"},
		{"somebody else's folder is there", "target", func(s *scene, name string) {
			s.Must(os.Remove(filepath.Join(s.Files, name)))
			s.Must(os.Mkdir(filepath.Join(s.Files, name), 0o700))
		}, "", "refused", "served"},
		{"the old one is served at every address", "wire", onWire(issued(soon)), "", "kept", "behind"},
		{"the old one is served at one of two addresses", "wire", onWire(issued(soon), "::1"), "", "kept", "behind"},
		{"it is served without its intermediate", "wire", onWire(func(s *scene, name string) certs.Pair {
			pair := s.pairs[name]
			pair.Chain = pair.Chain[:1]
			return pair
		}), "", "kept", "unfit"},
		{"one that has expired is served", "wire", onWire(issued(past)), "", "kept", "unfit"},
		{"one for other names is served", "wire", onWire(issued(certs.Options{Names: []string{"default.example.org"}})), "", "kept", "unfit"},
		{"nobody listens there", "wire", nil, "closed", "kept", "unseen"},
		{"who listens there says nothing", "wire", nil, "mute", "kept", "unseen"},
	}
}

// Twenty kinds of fault among a thousand certificates: all are found, none is invented,
// and each is said in a line that stands in docs/audit.md.
func TestTwentyFaults(t *testing.T) {
	all := faults()
	if len(all) != 20 {
		t.Fatalf("%d faults", len(all))
	}
	s := &scene{World: world.New(t, world.Options{}), edge: newEdge(t, "127.0.0.1", "::1"), pairs: map[string]certs.Pair{}}
	s.World = resolving(s.World, map[string][]string{"edge.example.com": {"127.0.0.1", "::1"}, "localhost": {"127.0.0.1"}})
	addresses := map[string]string{"": "edge.example.com:" + s.edge.port, "closed": closed(t), "mute": mute(t)}
	has := func(i int) *fault { // the certificates with a fault lie apart
		if i%10 == 0 && i/10 < len(all)*ofEach {
			return &all[i/10%len(all)]
		}
		return nil
	}
	var declared strings.Builder
	for i := range certificates {
		address := addresses[""]
		if f := has(i); f != nil {
			address = addresses[f.address]
		}
		name := fmt.Sprintf("c%04d", i)
		fmt.Fprintf(&declared, "  - {name: %s, domains: [%s], verify: [{address: %q, server_name: %s}]}\n", name, domain(name), address, domain(name))
		s.pairs[name] = s.issue(name, certs.Options{})
		s.Put(name, s.pairs[name])
		s.edge.show(domain(name), s.pairs[name])
	}
	config := s.Config("config.yaml", "version: 1\nowner: hub\nstore: {{.Store .Root}}\ncertificates:\n"+declared.String()+
		"sinks: [{name: files, type: file, certificates: [\"*\"], config: {dir: {{.Files}}}}]\n", s)
	s.Kept(s.Report(0, config, "sync"))
	s.harmless(has)
	if sides := s.inject(has, "store"); sides != 6*ofEach {
		t.Fatalf("%d certificates with a fault in the store", sides)
	}
	s.Run(config, "sync", "--no-issue") // what was written by hand is read once; it mends nothing of this
	s.inject(has, "target")
	s.inject(has, "wire")

	begin := time.Now()
	cmd := s.Command(config, "audit", "-o", "json")
	audit := s.Do(cmd)
	took, work := time.Since(begin), cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()
	t.Logf("%d certificates in %s, %s of a processor", certificates, took.Round(time.Millisecond), work.Round(time.Millisecond))
	if work > 10*time.Second {
		t.Errorf("the audit took %s of a processor", work)
	}
	if audit.Code != 1 { // some could not be told
		t.Errorf("exit code %d", audit.Code)
	}
	seen := promises(t, audit)
	if len(seen) != certificates {
		t.Fatalf("%d promises", len(seen))
	}
	for i, p := range seen { // sorted by name
		want := fault{verdict: "kept", wire: "served"}
		if f := has(i); f != nil {
			want = *f
		}
		if p.Verdict != want.verdict || p.Wire.State != want.wire {
			t.Errorf("%s (%s): %s, on the wire %s: %s; want %s, %s", p.Certificate, want.what, p.Verdict, p.Wire.State, p.Wire.Text, want.verdict, want.wire)
		}
	}
	s.table(all, has, s.Run(config, "audit"))
}

// inject does the faults of one side, and counts the certificates that have one now.
func (s *scene) inject(has func(int) *fault, side string) (n int) {
	for i := range certificates {
		if f := has(i); f != nil && f.side == side {
			if n++; f.do != nil {
				f.do(s, fmt.Sprintf("c%04d", i))
			}
		}
	}
	return n
}

// harmless has some servers do what is unusual and no fault: an RSA certificate for old
// clients beside ours, a demand for certificates of clients, TLS 1.2 alone.
func (s *scene) harmless(has func(int) *fault) {
	old := s.issue("old", certs.Options{KeyType: certs.RSA2048})
	for i := 1; i < 10*harmless; i += 10 {
		name := fmt.Sprintf("c%04d", i)
		if has(i) != nil {
			s.T.Fatalf("%s has a fault", name)
		}
		rsa := s.issue(name, certs.Options{Key: old.Key})
		ours := keyed(s.pairs[name])
		unusual := [...]*tls.Config{
			{Certificates: []tls.Certificate{keyed(rsa), ours}},
			{Certificates: []tls.Certificate{ours}, ClientAuth: tls.RequireAnyClientCert},
			{Certificates: []tls.Certificate{ours}, MaxVersion: tls.VersionTLS12},
		}
		s.edge.configure(domain(name), unusual[i/10%len(unusual)])
	}
}

// table holds docs/audit.md to the lines that an audit printed of each fault. All
// certificates with a fault are told alike.
func (s *scene) table(all []fault, has func(int) *fault, audit world.Result) {
	s.T.Helper()
	said := map[string]string{}
	for i := range certificates {
		name := fmt.Sprintf("c%04d", i)
		lines := s.linesOf(audit.Stdout, name)
		f := has(i)
		switch {
		case f == nil && len(lines) == 1 && strings.HasSuffix(lines[0], " kept"):
		case f == nil:
			s.T.Errorf("%s has no fault, and it says %q", name, lines)
		case said[f.what] == "":
			said[f.what] = strings.Join(lines, "<br>")
		case said[f.what] != strings.Join(lines, "<br>"):
			s.T.Errorf("%s is told in other words: %q", f.what, lines)
		}
	}
	var b strings.Builder
	b.WriteString("| | where | what is wrong | what `anycert audit` prints |\n|---|---|---|---|\n")
	for i, f := range all {
		fmt.Fprintf(&b, "| %d | %s | %s | %s |\n", i+1, f.side, f.what, strings.ReplaceAll(said[f.what], "|", `\|`))
	}
	text, err := os.ReadFile(page)
	s.Must(err)
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		s.T.Fatalf("%s has no place for the table: %s%s", page, begin, end)
	}
	want := before + begin + b.String() + end + after
	switch {
	case want == string(text):
	case *update:
		s.Must(os.WriteFile(page, []byte(want), 0o644))
	default:
		s.T.Errorf("the table of docs/audit.md is not what was seen: go test ./internal/e2e/wire -run TestTwentyFaults -update\n%s", b.String())
	}
}

var (
	moment = regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\dZ`)
	port   = regexp.MustCompile(`(127\.0\.0\.1|edge\.example\.com):\d+`)
	spaces = regexp.MustCompile(` {2,}`)
	byte64 = regexp.MustCompile(`[0-9a-f]{64}`)
)

// linesOf are the lines about a certificate that tell more than that a promise of it is
// kept, without what differs from run to run; or that line, where it is all.
func (s *scene) linesOf(text, name string) (lines []string) {
	about := regexp.MustCompile(`\b` + name + `\b`)
	for line := range strings.SplitSeq(text, "\n") {
		if !about.MatchString(line) {
			continue
		}
		line = strings.NewReplacer(s.Files, "/etc/ssl", s.Vault.Addr, "https://vault.example.com:8200").Replace(strings.TrimRight(line, " "))
		line = spaces.ReplaceAllString(about.ReplaceAllString(line, "shop"), " ")
		line = port.ReplaceAllString(moment.ReplaceAllString(line, "2027-01-01 00:00:00Z"), "$1:443")
		lines = append(lines, byte64.ReplaceAllString(line, "…"))
	}
	if len(lines) > 1 && strings.HasSuffix(lines[0], " kept") {
		lines = lines[1:]
	}
	return slices.Compact(lines)
}

// closed is an address where nobody listens until the test ends.
func closed(t *testing.T) string {
	t.Helper()
	addr, release, err := process.Hold()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return addr
}

// mute is an address where somebody listens and says nothing.
func mute(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}
