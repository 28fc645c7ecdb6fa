package render

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// Place is where one rendered file lies. That it is ours stands in a mark elsewhere,
// for a file of any format has no room for one. One writer at a time.
type Place struct {
	Dir  *os.Root // that the file lies in
	Name string   // of the file

	Memory *os.Root // where marks lie; nobody else writes there
	Mark   string   // name of this file's mark
	Owner  string   // whose file it is; another's is foreign

	Mode     fs.FileMode
	UID, GID int // -1: those of this process
}

// State is what was seen at a Place.
type State string

const (
	Missing  State = "missing"
	Same     State = "same"
	Outdated State = "outdated" // it is as we left it, and should be otherwise
	Edited   State = "edited"   // ours, and somebody changed it since
	Foreign  State = "foreign"  // anycert did not make it
)

// Seen is a State, and what is wrong with the rights of a file of ours.
type Seen struct {
	State State
	Info  fs.FileInfo // of the file; nil when it is missing
}

// mark says whose a file is, and what was left there. It has two digests while one
// replaces the other: a writer that is killed in between leaves a file of ours.
type mark struct {
	Owner   string   `json:"owner"`
	Digests []string `json:"sha256"`
}

// Look compares what is there with what should be, and changes nothing.
func (p Place) Look(want []byte) (Seen, error) {
	info, err := p.Dir.Lstat(p.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return Seen{State: Missing}, nil
	}
	if err != nil {
		return Seen{}, err
	}
	seen := Seen{State: Foreign, Info: info}
	if !info.Mode().IsRegular() {
		return seen, nil
	}
	found, err := p.read()
	if err != nil {
		return Seen{}, err
	}
	left, err := p.left()
	if err != nil {
		return Seen{}, err
	}
	switch {
	case left == nil || left.Owner != p.Owner:
		if string(found) == string(want) && left == nil {
			seen.State = Same // somebody wrote it by hand, and there is nothing to be done
		}
	case string(found) == string(want):
		seen.State = Same
	case slices.Contains(left.Digests, digest(found)):
		seen.State = Outdated
	default:
		seen.State = Edited
	}
	return seen, nil
}

// Write puts want there in one step, with the mode from the first byte on. It does not
// look whose it was: see Look.
func (p Place) Write(want []byte) error {
	digests := []string{digest(want)}
	if found, err := p.read(); err == nil {
		digests = append(digests, digest(found))
	}
	text, err := json.Marshal(mark{p.Owner, slices.Compact(digests)})
	if err != nil {
		return err
	}
	if err := (Place{Dir: p.Memory, Name: p.Mark, Mode: 0o600, UID: -1, GID: -1}).swap(text); err != nil {
		return fmt.Errorf("noting that it is ours: %w", err)
	}
	return p.swap(want)
}

// swap writes beside the file and renames. What a killed writer left there is replaced.
func (p Place) swap(text []byte) error {
	temporary := "." + p.Name + ".anycert"
	if err := p.Dir.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := p.Dir.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err == nil && p.UID >= 0 {
		err = file.Chown(p.UID, p.GID)
	}
	if err == nil {
		err = file.Chmod(p.Mode) // after chown, which clears bits
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = p.Dir.Rename(temporary, p.Name)
	}
	if err != nil {
		return errors.Join(err, p.Dir.Remove(temporary))
	}
	dir, err := p.Dir.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// read reads the file; what is there in its place is neither waited for nor followed.
func (p Place) read() ([]byte, error) { return readBounded(p.Dir, p.Name) }

func (p Place) left() (*mark, error) {
	text, err := readBounded(p.Memory, p.Mark)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found mark
	if json.Unmarshal(text, &found) != nil {
		return nil, nil
	}
	return &found, nil
}

func readBounded(root *os.Root, name string) ([]byte, error) {
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, &fs.PathError{Op: "read", Path: name, Err: syscall.EINVAL})
	}
	return io.ReadAll(io.LimitReader(file, MaxOutput+1)) // one more, so that it differs from all that we write
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
