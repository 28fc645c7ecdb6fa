package file

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/anycert/anycert"
)

// Observe reads every file of a target. Its deviations are of the kinds
//
//	mode    a file or directory shows more, or less, than the configuration says
//	owner   a file or directory belongs to another user or group
//	type    something that is no file lies in the place of one
//	file    a file is missing, cannot be read, or does not agree with the others
//	mark    the sink was named otherwise when it left the mark
//	link    the symlink leads to a version that stands in for a damaged one
//	reload  the server has not been told of the last change
//	template  a rendered file is not as its template makes it
func (s *Sink) Observe(ctx context.Context, target anycert.Target) (anycert.Observed, error) {
	observed, err := s.observe(ctx, target.Certificate)
	return observed, s.wrap("observing", target.Label, err)
}

func (s *Sink) observe(ctx context.Context, certificate string) (anycert.Observed, error) {
	if err := errors.Join(ctx.Err(), anycert.CheckName(certificate)); err != nil {
		return anycert.Observed{}, err
	}
	password, err := s.readPassword(ctx)
	if err != nil {
		return anycert.Observed{}, err
	}
	templates := s.render(ctx, certificate)
	a, err := s.open()
	if errors.Is(err, fs.ErrNotExist) {
		return anycert.Observed{}, nil
	}
	if err != nil {
		return anycert.Observed{}, err
	}
	defer a.close()
	seen, err := a.look(ctx, certificate)
	switch {
	case err != nil:
		return anycert.Observed{}, err
	case seen.foreign != "":
		return anycert.Observed{Found: true, Evidence: anycert.Exact, Foreign: seen.foreign}, nil
	case seen.version == nil:
		return anycert.Observed{}, nil
	}
	observed, err := a.tell(certificate, seen, password)
	if err != nil {
		return anycert.Observed{}, err
	}
	wrong, err := a.templateDeviations(templates)
	observed.Deviations = append(observed.Deviations, wrong...)
	return observed, err
}

// readPassword is the keystore's; zero when there is none to make.
func (s *Sink) readPassword(ctx context.Context) (anycert.Secret, error) {
	if s.password == nil {
		return anycert.Secret{}, nil
	}
	password, err := s.password.Secret(ctx)
	if err != nil {
		return anycert.Secret{}, fmt.Errorf("password of %s: %w", keystoreFile, err)
	}
	return password, nil
}

// sight is what lies at a target.
type sight struct {
	link    fs.FileInfo // the symlink; nil: nothing is there
	name    string      // of the version that it leads to
	version *version    // nil: nothing is there, or the symlink leads nowhere
	foreign string      // why it must not be touched
}

// look follows the symlink of a certificate. It begins anew when a writer replaced
// it meanwhile, so that what it returns was there at one time.
func (a *area) look(ctx context.Context, certificate string) (sight, error) {
	for {
		if err := ctx.Err(); err != nil {
			return sight{}, err
		}
		seen, err := a.follow(certificate)
		again, linkErr := a.link(certificate)
		if linkErr == nil && !sameLink(seen.link, again.link) {
			continue
		}
		return seen, err
	}
}

func sameLink(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime())
}

// link reads the symlink alone.
func (a *area) link(certificate string) (sight, error) {
	info, err := a.top.Lstat(certificate)
	if errors.Is(err, fs.ErrNotExist) {
		return sight{}, nil
	}
	if err != nil {
		return sight{}, err
	}
	seen := sight{link: info}
	if info.Mode()&fs.ModeSymlink == 0 {
		seen.foreign = fmt.Sprintf("it is %s that anycert did not make: move it away, or name the certificate otherwise", kindOf(info.Mode()))
		return seen, nil
	}
	to, err := a.top.Readlink(certificate)
	if err != nil {
		return sight{}, err
	}
	seen.name = path.Base(to)
	if to != linkTo(seen.name) || certificateOf(seen.name) != certificate {
		seen.foreign = fmt.Sprintf("it is a symlink to %q that anycert did not make: remove it, or name the certificate otherwise", to)
	}
	return seen, nil
}

// follow reads the symlink and the version that it leads to.
func (a *area) follow(certificate string) (sight, error) {
	seen, err := a.link(certificate)
	if err != nil || seen.link == nil || seen.foreign != "" {
		return seen, err
	}
	seen.version, err = a.read(seen.name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return seen, nil
	case err != nil:
		return seen, err
	case !seen.version.info.IsDir():
		seen.foreign = fmt.Sprintf("%s is %s, not a directory: remove it", linkTo(seen.name), kindOf(seen.version.info.Mode()))
	default:
		seen.foreign = a.foreignMark(seen.version.signature())
	}
	return seen, nil
}

// foreignMark says whose a version is if not ours to write. A version without a mark is
// ours: nobody else makes names like that, and a mark is among the things that may
// be damaged.
func (a *area) foreignMark(signature *signature) string {
	switch {
	case signature == nil, signature.Owner == a.owner:
		return ""
	case signature.Schema > schema:
		return fmt.Sprintf("%s was left by a later anycert (schema %d, this one knows %d): upgrade this one", markFile, signature.Schema, schema)
	}
	return fmt.Sprintf("it carries the mark of the owner %q: take the certificate out of that hub's configuration and remove the symlink, or use another dir", signature.Owner)
}

// tell says what a version is.
func (a *area) tell(certificate string, seen sight, password anycert.Secret) (anycert.Observed, error) {
	v := seen.version
	o := anycert.Observed{Found: true, Evidence: anycert.Exact}
	chain, err := anycert.ParseChain(v.files[fullchainFile].data)
	if err == nil { // else the digest stays zero, which agrees with nothing
		leaf := chain[0]
		o.Digest = anycert.DigestOf(chain)
		o.Serial, o.Names = leaf.SerialNumber.String(), leaf.DNSNames
		o.NotBefore, o.NotAfter = leaf.NotBefore.UTC(), leaf.NotAfter.UTC()
	}
	if spki, err := anycert.SPKIOfKey(v.files[keyFile].data); err == nil {
		o.SPKI = spki
	}
	o.Deviations = v.disagreements(chain, a.keystoreCheck(o.Digest, password))
	if signature := v.signature(); signature != nil {
		o.Mark = &signature.Mark
		if signature.Sink != a.name {
			o.Deviations = append(o.Deviations, deviation("mark", "%s names the sink %q, want %q", markFile, signature.Sink, a.name))
		}
	}
	permissions, err := a.permissions(seen.name, v)
	if err != nil {
		return anycert.Observed{}, err
	}
	for _, p := range permissions {
		o.Deviations = append(o.Deviations, p.deviation)
	}
	if strings.HasSuffix(seen.name, spare) {
		o.Deviations = append(o.Deviations, deviation("link", "it leads to %s, want %s", seen.name, strings.TrimSuffix(seen.name, spare)))
	}
	owes, err := a.owes(certificate)
	if owes {
		o.Deviations = append(o.Deviations, deviation("reload", "the last change waits for a successful %q", a.reload))
	}
	return o, err
}

// keystoreCheck judges a keystore; nil when there is none to be.
func (s *Sink) keystoreCheck(digest anycert.Digest, password anycert.Secret) func([]byte) string {
	if s.password == nil {
		return nil
	}
	return func(data []byte) string { return checkKeystore(data, digest, password) }
}

// disagreements are the files that are missing, are no files, or do not say what
// the chain and the key beside them say.
func (v *version) disagreements(chain []*x509.Certificate, keystore func([]byte) string) []anycert.Deviation {
	expected := map[string][]byte{
		leafFile:     encode(chain[:min(1, len(chain))]),
		issuersFile:  encode(chain[min(1, len(chain)):]),
		combinedFile: slices.Concat(v.files[fullchainFile].data, v.files[keyFile].data),
	}
	var found []anycert.Deviation
	for _, name := range versionFiles() {
		c, ok := v.files[name]
		want, derived := expected[name]
		switch {
		case name == keystoreFile && keystore == nil:
		case !ok:
			found = append(found, deviation("file", "%s is missing", name))
		case !c.info.Mode().IsRegular():
			found = append(found, deviation("type", "%s: %s", name, c.wrong))
		case c.wrong != "":
			found = append(found, deviation("file", "%s: %s", name, c.wrong))
		case derived && !bytes.Equal(c.data, want):
			found = append(found, deviation("file", "%s does not agree with %s and %s", name, fullchainFile, keyFile))
		case name == keystoreFile && keystore(c.data) != "":
			found = append(found, deviation("file", "%s: %s", name, keystore(c.data)))
		}
	}
	return found
}

func encode(chain []*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, certificate := range chain {
		_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
	}
	return out.Bytes()
}
