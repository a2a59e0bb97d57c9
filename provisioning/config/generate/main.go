// Command generate writes the documents that are made from the configuration's
// types into a directory: the JSON Schema and the reference of every field.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"sluice/provisioning/config"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: generate DIR")
		os.Exit(2)
	}
	for name, content := range map[string][]byte{
		"config.schema.json": config.JSONSchema(),
		"reference.md":       config.Reference(),
	} {
		if err := os.WriteFile(filepath.Join(os.Args[1], name), content, 0o644); err != nil {
			fmt.Fprintln(os.Stderr, "generate:", err)
			os.Exit(1)
		}
	}
}
