// Command deploy reads what deploy/ has for other programs, as strictly as those programs would:
//
//	deploy manifests FILE…   Kubernetes objects: only known fields, of the right type, and references that lead somewhere
//	deploy compose FILE…     what `docker compose config` reads, with the same library
//	deploy dockerfile FILE…  what `docker build` parses, with the same library, and rules of this project
//	deploy values FILE       the values of a chart as a table in Markdown
package main

import (
	"fmt"
	"os"
)

func main() {
	checks := map[string]func(string) error{"manifests": manifests, "compose": compose, "dockerfile": dockerfile, "values": values}
	if len(os.Args) < 3 || checks[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: deploy manifests|compose|dockerfile|values FILE…")
		os.Exit(2)
	}
	failed := false
	for _, file := range os.Args[2:] {
		if err := checks[os.Args[1]](file); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", file, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}
