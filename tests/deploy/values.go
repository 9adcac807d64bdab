package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"gopkg.in/yaml.v3"
)

// values prints each value of a chart, its default, and the comment above it that begins with "--".
func values(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return err
	}
	if len(document.Content) == 0 {
		return errors.New("there are no values in it")
	}
	fmt.Println("| value | default | |")
	fmt.Println("|---|---|---|")
	return rows("", document.Content[0])
}

func rows(path string, node *yaml.Node) error {
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		name := strings.TrimPrefix(path+"."+key.Value, ".")
		comment := description(key.HeadComment)
		// A section is its members; what a comment describes as one is one.
		if value.Kind == yaml.MappingNode && len(value.Content) > 0 && !strings.HasPrefix(key.HeadComment, "# --") {
			if err := rows(name, value); err != nil {
				return err
			}
			continue
		}
		value.HeadComment, value.FootComment, value.LineComment = "", "", ""
		shown, err := inline(value)
		if err != nil {
			return err
		}
		fmt.Printf("| `%s` | `%s` | %s |\n", name, shown, strings.ReplaceAll(comment, "|", "\\|"))
	}
	return nil
}

// description is the comment without its marks, from "--" on.
func description(comment string) string {
	_, after, found := strings.Cut(comment, "# --")
	if !found {
		return ""
	}
	return strings.Join(strings.Fields(strings.ReplaceAll(after, "\n#", "\n")), " ")
}

// inline is the value in one line of YAML.
func inline(node *yaml.Node) (string, error) {
	flow(node)
	text, err := yaml.Marshal(node)
	return strings.Join(strings.Fields(string(text)), " "), err
}

func flow(node *yaml.Node) {
	if node.Kind != yaml.ScalarNode {
		node.Style = yaml.FlowStyle
	}
	node.HeadComment, node.LineComment, node.FootComment = "", "", ""
	for _, child := range node.Content {
		flow(child)
	}
}
