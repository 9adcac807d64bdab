package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/compose-spec/compose-go/loader"
	"github.com/compose-spec/compose-go/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// compose checks a compose file: it is valid, what it mounts from here is here, and images have a version.
func compose(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	folder, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return err
	}
	project, err := loader.Load(types.ConfigDetails{
		WorkingDir:  folder,
		ConfigFiles: []types.ConfigFile{{Filename: file, Content: text}},
		Environment: map[string]string{},
	})
	if err != nil {
		return err
	}
	var problems []error
	for _, service := range project.Services {
		for _, volume := range service.Volumes {
			if _, err := os.Stat(volume.Source); volume.Type == types.VolumeTypeBind && err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", service.Name, err))
			}
		}
		if service.Build != nil {
			if _, err := os.Stat(filepath.Join(service.Build.Context, service.Build.Dockerfile)); err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", service.Name, err))
			}
		} else if !strings.Contains(service.Image, ":") || strings.HasSuffix(service.Image, ":latest") {
			problems = append(problems, fmt.Errorf("%s: image %q has no version", service.Name, service.Image))
		}
	}
	return join(problems)
}

// dockerfile checks a Dockerfile: it parses, what it copies from here is in the context, and the last stage is neither
// root nor without an entry point and a health check.
func dockerfile(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	result, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return err
	}
	if len(result.Warnings) > 0 {
		return fmt.Errorf("%v", result.Warnings)
	}
	stages, _, err := instructions.Parse(result.AST)
	if err != nil {
		return err
	}
	names := map[string]bool{}
	var problems []error
	for _, stage := range stages {
		if !names[stage.BaseName] && !strings.Contains(stage.BaseName, ":") {
			problems = append(problems, fmt.Errorf("image %q has no version", stage.BaseName))
		}
		names[stage.Name] = true
		for _, command := range stage.Commands {
			if from, ok := command.(*instructions.CopyCommand); ok && from.From != "" && !names[from.From] {
				problems = append(problems, fmt.Errorf("there is no stage %q", from.From))
			}
		}
	}
	var user string
	var entry, health bool
	for _, command := range stages[len(stages)-1].Commands {
		switch command := command.(type) {
		case *instructions.UserCommand:
			user = command.User
		case *instructions.EntrypointCommand:
			entry = !command.PrependShell
		case *instructions.HealthCheckCommand:
			health = command.Health != nil && command.Health.Test[0] == "CMD"
		case *instructions.RunCommand:
			problems = append(problems, errors.New("the last stage runs something, and has no shell"))
		}
	}
	if user == "" || user == "root" || strings.HasPrefix(user, "0") {
		problems = append(problems, fmt.Errorf("it runs as %q", user))
	}
	if !entry || !health {
		problems = append(problems, errors.New("the entry point or the health check is missing, or wants a shell"))
	}
	return join(problems)
}
