package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// verdict is what the judge says. The driver has its own words for it: they share no
// code.
type verdict struct {
	Crashes, Orders, Certificates, Versions, Looks      int
	KeysLost, Beyond, Orphans, Mismatched, Left, Behind []string
}

// count is a line of the verdict: what must not be.
type count struct {
	what  string
	found []string
}

func (v verdict) counts() []count {
	return []count{
		{"keys lost", v.KeysLost},
		{"certificates beyond those due", v.Beyond},
		{"orders beyond one for each crash", v.Orphans},
		{"mismatched pairs", v.Mismatched},
		{"keys of journals left", v.Left},
		{"targets behind the store at the end", v.Behind},
	}
}

func (v *verdict) add(one verdict) {
	v.Crashes += one.Crashes
	v.Orders += one.Orders
	v.Certificates += one.Certificates
	v.Versions += one.Versions
	v.Looks += one.Looks
	v.KeysLost = append(v.KeysLost, one.KeysLost...)
	v.Beyond = append(v.Beyond, one.Beyond...)
	v.Orphans = append(v.Orphans, one.Orphans...)
	v.Mismatched = append(v.Mismatched, one.Mismatched...)
	v.Left = append(v.Left, one.Left...)
	v.Behind = append(v.Behind, one.Behind...)
}

// short is the verdict in a line.
func (v verdict) short() string {
	faults := 0
	for _, c := range v.counts() {
		faults += len(c.found)
	}
	return fmt.Sprintf("%d orders, %d certificates, %d looks at pairs, %d faults", v.Orders, v.Certificates, v.Looks, faults)
}

// most is how many faults of a kind are shown.
const most = 3

// print writes the verdict as a table, and some of the faults.
func (v verdict) print(out io.Writer) {
	table := tabwriter.NewWriter(out, 0, 0, 1, ' ', tabwriter.AlignRight|tabwriter.DiscardEmptyColumns)
	fmt.Fprintf(table, "%d\t kills\n", v.Crashes)
	fmt.Fprintf(table, "%d\t orders at the CA\n", v.Orders)
	fmt.Fprintf(table, "%d\t certificates issued\n", v.Certificates)
	fmt.Fprintf(table, "%d\t versions in Vault\n", v.Versions)
	fmt.Fprintf(table, "%d\t looks at pairs\n", v.Looks)
	for _, c := range v.counts() {
		fmt.Fprintf(table, "%d\t %s\n", len(c.found), c.what)
	}
	_ = table.Flush()
	for _, c := range v.counts() {
		for i, fault := range c.found {
			if i == most {
				fmt.Fprintf(out, "%s: and %d more\n", c.what, len(c.found)-most)
				break
			}
			fmt.Fprintf(out, "%s: %s\n", c.what, fault)
		}
	}
}

// err is nil where nothing is as it must not be, and something was there to be judged.
func (v verdict) err() error {
	var wrong []string
	for _, c := range v.counts() {
		if len(c.found) > 0 {
			wrong = append(wrong, fmt.Sprintf("%s: %d", c.what, len(c.found)))
		}
	}
	if v.Certificates == 0 || v.Versions == 0 || v.Looks == 0 {
		wrong = append(wrong, "nothing was there to be judged")
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("the judge found %s", strings.Join(wrong, ", "))
}

// print writes how often the daemon was killed where.
func (b *book) print(out io.Writer) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nCALL\tKILLED BEFORE IT\tAFTER ITS ANSWER")
	points, kills := 0, 0
	for _, l := range b.lines() {
		before := strconv.Itoa(l.before)
		if strings.HasPrefix(l.call, "file") {
			before = "-" // the kernel tells of what was done
		} else {
			points++
		}
		fmt.Fprintf(table, "%s\t%s\t%d\n", l.call, before, l.after)
		points++
		kills += l.before + l.after
	}
	fmt.Fprintf(table, "at a random moment\t%d\n", b.random)
	_ = table.Flush()
	fmt.Fprintf(out, "%d points, %d kills at them, %d at random moments\n\n", points, kills, b.random)
}
