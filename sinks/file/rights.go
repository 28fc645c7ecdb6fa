package file

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/anycert/anycert"
)

var _ anycert.Grantor = (*Config)(nil)

// Capabilities are what root needs of its power to keep files of another user: to give
// them away, to set their modes, and to read and remove them afterwards
// (capabilities(7)).
const Capabilities = "CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE"

// Grants tells whose the directory has to be, and what else the user needs that
// anycert runs as, here by the name anycert.
func (c *Config) Grants(to anycert.Grantee) (anycert.Grants, error) {
	if to.Role == anycert.Laptop {
		return "", nil
	}
	dir, owner, group := anycert.ShellWord(c.Dir), anycert.ShellWord(c.Owner), anycert.ShellWord(c.Group)
	var out strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	if to.Role == anycert.Auditor {
		line("# Reading %s means reading the keys in it: run the audit as the user that anycert runs as there.", dir)
		return anycert.Grants(out.String()), nil
	}
	user := "anycert"
	if c.Owner != "" && c.Owner != user {
		user = "root"
	}
	line("# The directory belongs to the user that anycert runs as, here %s, and nobody else may write into it.", user)
	line("install -d -o %[1]s -g %[1]s -m 0755 %[2]s", user, dir)
	switch {
	case user == "root":
		line("# The files are given to %s: that takes root, though not all of its power. In a systemd unit:", owner)
		line("CapabilityBoundingSet=%s", Capabilities)
		line("# Without owner, with group and mode: \"0640\", it takes no root at all.")
	case c.Group != "":
		line("# The files (mode %s) are given to the group %s. A user may do so who is in it; no capability is needed.", cmp.Or(c.Mode, DefaultMode), group)
		line("usermod --append --groups %s anycert", group)
	default:
		line("# The files have mode %s and belong to anycert: no capability is needed. A server that does not start as root", cmp.Or(c.Mode, DefaultMode))
		line("# reads them by its group: see group and mode.")
	}
	if len(c.Reload) > 0 {
		var words []string
		for _, word := range c.Reload {
			words = append(words, anycert.ShellWord(word))
		}
		line("# After a change that user runs: %s", strings.Join(words, " "))
		line("# It needs the right to do just that: a rule of polkit for systemctl, or of sudoers with the very command.")
	}
	return anycert.Grants(out.String()), nil
}
