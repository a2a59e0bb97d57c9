package harness

// A Report is what these tests read of a state document.
type Report struct {
	Version uint64 `json:"version"`
	Uplinks []struct {
		Name      string   `json:"name"`
		Interface string   `json:"interface"`
		Ready     bool     `json:"ready"`
		Reason    *Reason  `json:"reason"`
		Addresses []string `json:"addresses"`
		Routing   *Reason  `json:"routing"`
	} `json:"uplinks"`
	Flows []struct {
		ID      string `json:"id"`
		Inputs  []Item `json:"inputs"`
		Outputs []Item `json:"outputs"`
	} `json:"flows"`
	Alarms []struct {
		Code    string `json:"code"`
		Subject string `json:"subject"`
		Message string `json:"message"`
	} `json:"alarms"`
}

// An Item is an input or output.
type Item struct {
	ID      string  `json:"id"`
	State   string  `json:"state"`
	Reason  *Reason `json:"reason"`
	Viewers int     `json:"viewers"`
}

// A Reason is why something is not as it should be.
type Reason struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Items are all inputs and outputs, by id.
func (r Report) Items() map[string]Item {
	m := make(map[string]Item)
	for _, f := range r.Flows {
		for _, i := range append(f.Inputs, f.Outputs...) {
			m[i.ID] = i
		}
	}
	return m
}

// States are those of all inputs and outputs, by id.
func (r Report) States() map[string]string {
	m := make(map[string]string)
	for id, i := range r.Items() {
		m[id] = i.State
	}
	return m
}

func (r *Reason) String() string {
	if r == nil {
		return ""
	}
	return r.Code + " (" + r.Message + ")"
}
