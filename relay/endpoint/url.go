package endpoint

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// CheckURL tells what is wrong with the URL of a server, as the end of a
// sentence that begins with the field's name, or returns "". The URL is never
// quoted: people put passwords into URLs, and then it must not be repeated.
func CheckURL(raw string, schemes ...string) string {
	form := schemes[0] + "://host[:port]/path"
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return "cannot be read: use " + form
	case !slices.Contains(schemes, u.Scheme):
		return "has another scheme: use " + strings.Join(schemes, ":// or ") + "://"
	case u.User != nil:
		return "holds a user name or password, and URLs are shown to everyone: remove it from the URL"
	case u.Hostname() == "":
		return "has no host: use " + form
	case u.Fragment != "" || strings.HasSuffix(raw, "#"):
		return "has a fragment: remove # and what follows"
	case strings.Trim(u.Path, "/") == "":
		return "has no path: use " + form
	}
	if wrong := CheckHost(u.Hostname()); wrong != "" {
		return "has a wrong host: " + wrong
	}
	if strings.HasSuffix(u.Host, ":") {
		return "has an empty port: use a number, or leave : out"
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return "has port " + clip(p) + ": use 1 to 65535"
		}
	}
	return ""
}
