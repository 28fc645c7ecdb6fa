package fastlytest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// mediaType is that of JSON:API (https://jsonapi.org/format/1.0/).
const mediaType = "application/vnd.api+json"

// timestamp writes itself as the API does, with milliseconds; zero is null.
type timestamp time.Time

func (t timestamp) MarshalJSON() ([]byte, error) {
	if time.Time(t).IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(time.Time(t).UTC().Format("2006-01-02T15:04:05.000Z"))
}

// resource is one object of an answer.
type resource struct {
	ID            string         `json:"id"`
	Type          string         `json:"type"`
	Attributes    any            `json:"attributes,omitempty"`
	Relationships map[string]any `json:"relationships,omitempty"`
}

// identifier is how one object names another.
type identifier struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

// toOne is a relationship to one object, or to none.
func toOne(kind, id string) any {
	if id == "" {
		return map[string]any{"data": nil}
	}
	return map[string]any{"data": identifier{id, kind}}
}

// toMany is a relationship to several objects.
func toMany(kind string, ids []string) any {
	all := []identifier{}
	for _, id := range ids {
		all = append(all, identifier{id, kind})
	}
	return map[string]any{"data": all}
}

// answer is what a request is answered with; the body nil means that there is none.
type answer struct {
	status int
	body   any
}

func one(status int, r resource) answer { return answer{status, map[string]any{"data": r}} }

func done() answer { return answer{status: http.StatusNoContent} }

// failure is one error of an answer.
type failure struct {
	Title  string `json:"title"`
	Detail string `json:"detail,omitempty"`
}

func refuse(status int, title, detail string) answer {
	return answer{status, map[string]any{"errors": []failure{{title, detail}}}}
}

func notFound(what string) answer {
	return refuse(http.StatusNotFound, "Not found", "The "+what+" you requested was not found")
}

// incoming is one request, as the handlers see it.
type incoming struct {
	id      string
	url     *url.URL
	filters url.Values // empty unless the request asks for JSON:API
	body    document
}

// document is the body of a write.
type document struct {
	Data struct {
		ID            string                  `json:"id"`
		Type          string                  `json:"type"`
		Attributes    attributes              `json:"attributes"`
		Relationships map[string]relationship `json:"relationships"`
	} `json:"data"`
}

// attributes are all that any write has.
type attributes struct {
	Name       string `json:"name"`
	Key        string `json:"key"`
	CertBlob   string `json:"cert_blob"`
	CertBundle string `json:"cert_bundle"`
	Enforced   bool   `json:"enforced"`
}

// relationship is one to a single object; Data is nil for null.
type relationship struct {
	Data *identifier `json:"data"`
}

// related returns the id of a relationship, and whether it was sent.
func (d document) related(name string) (id string, sent bool) {
	relation, sent := d.Data.Relationships[name]
	if relation.Data == nil {
		return "", sent
	}
	return relation.Data.ID, sent
}

// list answers with one page.
func list(r incoming, all []resource, perPage int) answer {
	number, size := 1, perPage
	for name, field := range map[string]*int{"page[number]": &number, "page[size]": &size} {
		if text := r.filters.Get(name); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 {
				return refuse(http.StatusBadRequest, "Invalid page", name+" must be a positive number")
			}
			*field = n
		}
	}
	size = min(size, 100)
	pages := max(1, (len(all)+size-1)/size)
	from := min((number-1)*size, len(all))
	body := map[string]any{
		"data":  append([]resource{}, all[from:min(from+size, len(all))]...),
		"links": links(r, number, size, pages),
		"meta": map[string]int{
			"per_page": size, "current_page": number, "record_count": len(all), "total_pages": pages,
		},
	}
	return answer{http.StatusOK, body}
}

func links(r incoming, number, size, pages int) map[string]any {
	link := func(n int) any {
		if n < 1 || n > pages {
			return nil
		}
		query := url.Values{}
		for name, values := range r.filters {
			query[name] = values
		}
		query.Set("page[number]", strconv.Itoa(n))
		query.Set("page[size]", strconv.Itoa(size))
		return "https://api.fastly.com" + r.url.Path + "?" + query.Encode()
	}
	return map[string]any{
		"self": link(number), "first": link(1), "prev": link(number - 1), "next": link(number + 1), "last": link(pages),
	}
}
