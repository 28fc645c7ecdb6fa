package web

import "strconv"

// pager leads from one page of a list to the others.
type pager struct {
	Page, Pages               int
	First, Before, Next, Last string // links, empty where there is nothing
}

func newPager(page, pages int, link func(page int) string) pager {
	p := pager{Page: page, Pages: pages}
	if page > 1 {
		p.First, p.Before = link(1), link(page-1)
	}
	if page < pages {
		p.Next, p.Last = link(page+1), link(pages)
	}
	return p
}

// pageOf is the page that is shown of a list, and how many there are.
func pageOf(wanted, length, size int) (page, pages int) {
	pages = max(1, (length+size-1)/size)
	return min(wanted, pages), pages
}

func pageQuery(page int) string {
	if page == 1 {
		return ""
	}
	return "?page=" + strconv.Itoa(page)
}
