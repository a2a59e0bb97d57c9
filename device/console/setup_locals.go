package console

import (
	"context"
	"slices"

	"sluice/device/console/edit"
)

// locals are the roles that the command line gave to NICs, in its order: the
// first is the default one where no document says otherwise. No document can
// give such a NIC another role.
type locals []local

type local struct{ role, nic string } // nic is empty while the box has none of the name

// readLocals finds them: uplinks that there are, and whose NIC is no matter of
// the document in force.
func (w *wizard) readLocals(ctx context.Context) (all locals, err error) {
	var state struct {
		Uplinks []struct {
			Name      string `json:"name"`
			Interface string `json:"interface"`
		} `json:"uplinks"`
	}
	if err := w.document(ctx, "state", &state); err != nil {
		return nil, err
	}
	force, _, err := w.inForce(ctx)
	if err != nil {
		return nil, err
	}
	for _, u := range state.Uplinks {
		if _, err := force.Find([]string{"uplinks", u.Name, "match"}); err != nil {
			all = append(all, local{u.Name, u.Interface})
		}
	}
	return all, nil
}

// of returns the role of a NIC, or "".
func (l locals) of(nic string) string {
	for _, each := range l {
		if each.nic == nic {
			return each.role
		}
	}
	return ""
}

func (l locals) has(role string) bool {
	return slices.ContainsFunc(l, func(each local) bool { return each.role == role })
}

// first is the role that is the default one by itself, or "".
func (l locals) first() string {
	if len(l) == 0 {
		return ""
	}
	return l[0].role
}

// uplinksOf are those that there are with a document.
func (w *wizard) uplinksOf(t *edit.Tree) []string {
	names := t.Names("uplinks")
	for _, each := range w.local {
		if !slices.Contains(names, each.role) {
			names = append(names, each.role)
		}
	}
	return names
}
