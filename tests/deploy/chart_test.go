package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"sigs.k8s.io/yaml"
)

const folder = "../../deploy/helm/onezot"

func loaded(t *testing.T) *chart.Chart {
	t.Helper()
	chart, err := loader.Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	return chart
}

// render is `helm template`, with values as YAML.
func render(chart *chart.Chart, values string) (string, error) {
	var given map[string]any
	if err := yaml.Unmarshal([]byte(values), &given); err != nil {
		return "", err
	}
	release := chartutil.ReleaseOptions{Name: "onezot", Namespace: "zot", IsInstall: true}
	all, err := chartutil.ToRenderValues(chart, given, release, chartutil.DefaultCapabilities)
	if err != nil {
		return "", err
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return "", err
	}
	var names []string
	for name := range files {
		if filepath.Ext(name) == ".yaml" {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	var text strings.Builder
	for _, name := range names {
		text.WriteString("---\n" + files[name] + "\n")
	}
	return text.String(), nil
}

// switches are what can be on or off, each with what it needs.
var switches = []string{
	"sidecar: {enabled: true}",
	"ingress: {enabled: true}",
	"httproute: {enabled: true, parentRefs: [{name: public}]}",
	"podDisruptionBudget: {enabled: true, minAvailable: 1}",
	"networkPolicy: {enabled: true, metricsFrom: [{podSelector: {}}]}",
	"metrics: {enabled: true, serviceMonitor: {enabled: true}}",
	"serviceAccount: {create: false}\ntls: {secretName: registry-tls}",
	"autoscaling: {enabled: true}",
	"zot: {discovery: kubernetes}",
}

func TestAllSwitchesGoTogether(t *testing.T) {
	chart := loaded(t)
	for on := 0; on < 1<<len(switches); on++ {
		var values []string
		for i, text := range switches {
			if on&(1<<i) != 0 {
				values = append(values, text)
			}
		}
		given := strings.Join(values, "\n")
		text, err := render(chart, given)
		// A sidecar is not scaled, and finds no nodes: see below.
		if on&1 != 0 && on&(1<<7|1<<8) != 0 {
			if err == nil {
				t.Fatalf("taken:\n%s", given)
			}
			continue
		}
		if err == nil {
			err = objectsIn(text)
		}
		if err != nil {
			t.Fatalf("%s\n%v", given, err)
		}
	}
}

func TestWhatMakesNoSenseIsRefused(t *testing.T) {
	chart := loaded(t)
	for values, expected := range map[string]string{
		"replicaCout: 3":                    "replicaCout is not allowed",
		"service: {type: Port}":             "service.type",
		"zot: {statefulSet: {replicas: 0}}": "replicas",
		"zot: {nodes: [{name: a}]}":         "url is required",
		"env: {A: b}":                       "env",
		"sidecar: {enabled: true}\nautoscaling: {enabled: true}":                   "leave out autoscaling",
		"zot: {discovery: consul}":                                                 "zot.discovery",
		"sidecar: {enabled: true}\nzot: {discovery: dns}":                          "leave zot.discovery static",
		"zot: {discovery: dns, nodes: [{url: 'http://a:1'}]}":                      "leave out zot.nodes",
		"sidecar: {enabled: true, port: 5000}":                                     "they must differ",
		"sidecar: {enabled: true}\nzot: {nodes: [{url: 'http://a:1'}]}":            "leave out zot.nodes",
		"sidecar: {enabled: true}\nconfigFiles: {onezot.yaml: 'a: b'}":             "a configuration of its own",
		"podDisruptionBudget: {enabled: true}":                                     "set one of",
		"podDisruptionBudget: {enabled: true, minAvailable: 1, maxUnavailable: 1}": "set one of",
		"httproute: {enabled: true}":                                               "names no gateway",
		"metrics: {serviceMonitor: {enabled: true}}":                               "set metrics.enabled",
	} {
		_, err := render(chart, values)
		if err == nil || !strings.Contains(err.Error(), expected) {
			t.Errorf("%s: %v", values, err)
		}
	}
}

func TestOtherNamesAndLists(t *testing.T) {
	chart := loaded(t)
	for values, expected := range map[string]string{
		"zot: {nodes: [{name: a, url: 'http://10.0.0.5:5000'}]}":                                             "- name: a\n      url: http://10.0.0.5:5000",
		"config: {nodes: [{url: 'http://b:1'}]}":                                                             "nodes:\n    - url: http://b:1",
		"configFiles: {onezot.yaml: 'nodes: [{url: \"http://c:1\"}]'}":                                       "nodes: [{url: \"http://c:1\"}]",
		"zot: {statefulSet: {name: r, service: h, namespace: far, replicas: 1, port: 81, clusterDomain: k}}": "url: http://r-0.h.far.svc.k:81",
		"namespace: other":      "http://zot-2.zot-headless.other.svc.cluster.local:5000",
		"zot: {discovery: dns}": "dns: _zot._tcp.zot-headless.zot.svc.cluster.local",
		"zot: {discovery: kubernetes, statefulSet: {namespace: far, portName: http}}": "kubernetes: far/zot-headless:http",
		"zot: {discovery: kubernetes, statefulSet: {namespace: away}}":                "kind: Role\nmetadata:\n  name: onezot\n  namespace: away\n",
		"zot: {statefulSet: {scheme: https, tls: {ca: /ca}, replicas: 1}}":            "tls:\n        ca: /ca\n      url: https://zot-0.zot-headless.zot.svc.cluster.local:5000\n",
		"sidecar: {enabled: true}\nzot: {statefulSet: {scheme: https, replicas: 1}}":  "tls:\n        server_name: onezot-0.onezot-headless.zot.svc.cluster.local\n      url: https://127.0.0.1:5000\n",
		"zot: {statefulSet: {credentialsFile: /run/onezot/zot}}":                      "- credentials_file: /run/onezot/zot\n      name: zot-0\n",
		"sidecar: {enabled: true, pvc: {name: zot-pvc}}\nfullnameOverride: zot":       "volumeClaimTemplates:\n    - metadata:\n        name: zot-pvc\n",
		"tls: {secretName: registry-tls}":                                             "listen:\n    - address: 0.0.0.0:5000\n      tls:\n        certificate: /etc/onezot-tls/tls.crt\n        key: /etc/onezot-tls/tls.key\n",
		"tls: {secretName: a}\nsidecar: {enabled: true}":                              "path: /readyz\n              port: http\n              scheme: HTTPS\n",
		"config: {discovery: {file: /a}}":                                             "discovery:\n      file: /a\n",
		"fullnameOverride: entry":                                                     "kind: Deployment\nmetadata:\n  name: entry\n",
	} {
		text, err := render(chart, values)
		if err != nil || !strings.Contains(text, expected) {
			t.Errorf("%s: %v\n%s", values, err, text)
		} else if err := objectsIn(text); err != nil {
			t.Errorf("%s: %v", values, err)
		}
	}
}

// A check that takes everything proves nothing.
func TestTheChecksFindMistakes(t *testing.T) {
	full, err := os.ReadFile(folder + "/ci/full-values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	gateway, err := render(loaded(t), string(full))
	if err != nil {
		t.Fatal(err)
	}
	sidecar, err := render(loaded(t), "sidecar: {enabled: true}")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{gateway, sidecar} {
		if err := objectsIn(text); err != nil {
			t.Fatal(err)
		}
	}
	for _, mistake := range []struct{ text, old, new, expected string }{
		{gateway, "terminationGracePeriodSeconds:", "terminationGracePeriod:", "unknown field"},
		{gateway, "containerPort: 5000", "containerPort: http", "cannot unmarshal"},
		{gateway, "kind: Deployment", "kind: Deploiment", "does not know the kind"},
		{gateway, "matchLabels:\n      app.kubernetes.io/name: onezot", "matchLabels:\n      app.kubernetes.io/name: zot", "does not match"},
		{gateway, "targetPort: http", "targetPort: htp", "has no port htp"},
		{gateway, "path: /livez\n              port: http", "path: /livez\n              port: web", "probed at a port"},
		{gateway, "mountPath: /scratch\n              name: scratch", "mountPath: /scratch\n              name: scrap", "no volume scrap"},
		{gateway, "configMap:\n            name: onezot", "configMap:\n            name: other", "no config map"},
		{gateway, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "more rights"},
		{gateway, "onezot:0.1.0", "onezot:latest", "no version"},
		{gateway, "port:\n                  name: http", "port:\n                  name: htp", "nothing at onezot"},
		{gateway, "kind: Service\n        name: onezot\n        port: 5000", "kind: Service\n        name: onezot\n        port: 5001", "nothing at onezot"},
		{gateway, "- port: admin\n      path", "- port: adm\n      path", "selects no port"},
		{gateway, "kind: Deployment\n    name: onezot", "kind: Deployment\n    name: other", "there is no Deployment other"},
		{gateway, "serviceAccountName: onezot", "serviceAccountName: other", "no service account"},
		{gateway, "name: onezot\n  namespace", "name: Onezot\n  namespace", "name:"},
		{sidecar, "serviceName: onezot-headless", "serviceName: headless", "no service headless"},
		{sidecar, "- name: data\n              mountPath", "- name: date\n              mountPath", "no volume date"},
	} {
		if !strings.Contains(mistake.text, mistake.old) {
			t.Errorf("%q is not there", mistake.old)
			continue
		}
		err := objectsIn(strings.ReplaceAll(mistake.text, mistake.old, mistake.new))
		if err == nil || !strings.Contains(err.Error(), mistake.expected) {
			t.Errorf("%q: %v", mistake.new, err)
		}
	}
	// A copy, so that what they name is found beside them.
	copied := t.TempDir()
	if said, err := exec.Command("cp", "-R", "../../deploy", copied).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	for _, mistake := range []struct {
		check          func(string) error
		file, old, new string
	}{
		{dockerfile, "Dockerfile", "USER 65532:65532\n", ""},
		{dockerfile, "Dockerfile", "--from=build", "--from=builder"},
		{dockerfile, "Dockerfile", "ENTRYPOINT [\"/usr/local/bin/onezot\"]", "ENTRYPOINT /usr/local/bin/onezot"},
		{dockerfile, "Dockerfile", "HEALTHCHECK", "# HEALTHCHECK"},
		{dockerfile, "Dockerfile", "FROM rust:", "FROM rust-"},
		{dockerfile, "Dockerfile", "\nRUN ", "\nRUNN "},
		{compose, "compose.yaml", "zot:v2.1.18", "zot:latest"},
		{compose, "compose.yaml", "./compose/zot.json", "./compose/no.json"},
		{compose, "compose.yaml", "restart:", "restarts:"},
		{compose, "compose.yaml", "dockerfile: deploy/", "dockerfile: "},
		{compose, "compose.yaml", "networks: [fleet]", "networks: [flet]"},
	} {
		file := copied + "/deploy/" + mistake.file
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := mistake.check(file); err != nil {
			t.Fatal(err)
		}
		changed := strings.ReplaceAll(string(text), mistake.old, mistake.new)
		if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := mistake.check(file); err == nil || changed == string(text) {
			t.Errorf("%s: %q passes", mistake.file, mistake.new)
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
