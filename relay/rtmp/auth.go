package rtmp

import (
	"crypto/md5"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"

	"sluice/relay/endpoint"
)

// credentials are what a server may ask for that is published to.
type credentials struct {
	username string
	password endpoint.Secret
}

// answer returns the query behind the application with which to connect again,
// after the words with which a server refused: "code=403 need auth;
// authmod=adobe", and then "?reason=needauth&user=...&salt=...&challenge=...".
// No specification says so: it is what Adobe Media Server does, and encoders
// with it. The error is an *endpoint.Error.
func (who credentials) answer(description string) (query string, err error) {
	if who.username == "" {
		return "", endpoint.Fail(endpoint.Refused, nil, "authentication", "the server wants a user name and a password: set username and password")
	}
	_, said, _ := strings.Cut(description, "?")
	said, _, _ = strings.Cut(said, " ")
	asked := make(map[string]string)
	for pair := range strings.SplitSeq(strings.TrimSpace(said), "&") {
		name, value, _ := strings.Cut(pair, "=") // base64, not escaped
		asked[name] = value
	}
	user := url.QueryEscape(who.username)
	switch asked["reason"] {
	case "":
		return "?authmod=adobe&user=" + user, nil
	case "needauth":
	default:
		return "", endpoint.Fail(endpoint.Refused, nil, "authentication", "the server does not accept the user name and password: %s", clean(asked["reason"]))
	}
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", endpoint.Fail(endpoint.Connecting, err, "authentication", "no challenge can be made")
	}
	challenge := hex.EncodeToString(b[:])
	response := respond(who, asked["salt"], asked["opaque"], asked["challenge"], challenge)
	query = "?authmod=adobe&user=" + user + "&challenge=" + challenge + "&response=" + response
	if opaque := asked["opaque"]; opaque != "" {
		query += "&opaque=" + opaque
	}
	return query, nil
}

// respond proves that we know the password: the server's opaque value stands in
// for its challenge where it has sent one.
func respond(who credentials, salt, opaque, theirs, ours string) string {
	proof := digest(who.username + salt + who.password.Reveal())
	if opaque == "" {
		opaque = theirs
	}
	return digest(proof + opaque + ours)
}

func digest(s string) string {
	sum := md5.Sum([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:])
}
