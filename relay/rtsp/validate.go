package rtsp

import "sluice/relay/endpoint"

// Validate returns what is wrong with the configuration beyond what the tags
// say. Pointers begin with at, which stands for c.
func (c InputConfig) Validate(at string) []endpoint.Fault {
	return check(at, c.URL, c.Username, c.Password)
}

// Validate returns what is wrong with the configuration beyond what the tags
// say. Pointers begin with at, which stands for c.
func (c OutputConfig) Validate(at string) []endpoint.Fault {
	return check(at, c.URL, c.Username, c.Password)
}

func check(at, url, username string, password endpoint.Secret) []endpoint.Fault {
	var faults []endpoint.Fault
	if url != "" {
		if wrong := endpoint.CheckURL(url, "rtsp", "rtsps"); wrong != "" {
			faults = append(faults, endpoint.Faultf(at+"/url", "url %s", wrong))
		}
	}
	if password.IsSet() && username == "" {
		faults = append(faults, endpoint.Faultf(at+"/username", "username is missing: a password needs one"))
	}
	return faults
}
