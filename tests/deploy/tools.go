//go:build tools

package main

// helm is built from this module, so that go.sum says what it is made of.
import _ "helm.sh/helm/v3/cmd/helm"
