package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	gateway "sigs.k8s.io/gateway-api/apis/v1beta1"
	"sigs.k8s.io/yaml"
)

// kinds are the types of all that the chart makes. HTTPRoute is the same in v1 and v1beta1.
var kinds = map[string]func() meta.Object{
	"v1 ConfigMap":                             func() meta.Object { return &core.ConfigMap{} },
	"v1 Pod":                                   func() meta.Object { return &core.Pod{} },
	"v1 Secret":                                func() meta.Object { return &core.Secret{} },
	"v1 Service":                               func() meta.Object { return &core.Service{} },
	"v1 ServiceAccount":                        func() meta.Object { return &core.ServiceAccount{} },
	"apps/v1 Deployment":                       func() meta.Object { return &apps.Deployment{} },
	"apps/v1 StatefulSet":                      func() meta.Object { return &apps.StatefulSet{} },
	"autoscaling/v2 HorizontalPodAutoscaler":   func() meta.Object { return &autoscaling.HorizontalPodAutoscaler{} },
	"networking.k8s.io/v1 Ingress":             func() meta.Object { return &networking.Ingress{} },
	"networking.k8s.io/v1 NetworkPolicy":       func() meta.Object { return &networking.NetworkPolicy{} },
	"policy/v1 PodDisruptionBudget":            func() meta.Object { return &policy.PodDisruptionBudget{} },
	"rbac.authorization.k8s.io/v1 Role":        func() meta.Object { return &rbac.Role{} },
	"rbac.authorization.k8s.io/v1 RoleBinding": func() meta.Object { return &rbac.RoleBinding{} },
	"gateway.networking.k8s.io/v1 HTTPRoute":   func() meta.Object { return &gateway.HTTPRoute{} },
	"monitoring.coreos.com/v1 ServiceMonitor":  func() meta.Object { return &monitoring.ServiceMonitor{} },
}

var separator = regexp.MustCompile(`(?m)^---[ \t]*$`)

// manifests checks the objects of one file, each for itself and all together.
func manifests(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return objectsIn(string(text))
}

func objectsIn(text string) error {
	var objects []meta.Object
	var problems []error
	for _, document := range separator.Split(text, -1) {
		var head meta.TypeMeta
		if err := yaml.Unmarshal([]byte(document), &head); err != nil {
			return err
		}
		if head.Kind == "" {
			continue // Comments only.
		}
		make, known := kinds[head.APIVersion+" "+head.Kind]
		if !known {
			problems = append(problems, fmt.Errorf("%s %s: this check does not know the kind", head.APIVersion, head.Kind))
			continue
		}
		object := make()
		if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", head.Kind, err))
			continue
		}
		for _, problem := range validation.IsDNS1123Subdomain(object.GetName()) {
			problems = append(problems, fmt.Errorf("%s %q: name: %s", head.Kind, object.GetName(), problem))
		}
		for name, value := range object.GetLabels() {
			for _, problem := range append(validation.IsQualifiedName(name), validation.IsValidLabelValue(value)...) {
				problems = append(problems, fmt.Errorf("%s %q: label %s: %s", head.Kind, object.GetName(), name, problem))
			}
		}
		objects = append(objects, object)
	}
	if len(objects) == 0 {
		return errors.New("there are no objects in it")
	}
	problems = append(problems, references(objects)...)
	return join(problems)
}

// workload is what makes pods.
type workload struct {
	name     string
	selector *meta.LabelSelector
	pod      core.PodTemplateSpec
	claims   []core.PersistentVolumeClaim
	service  string
}

// references finds names, labels and ports that lead nowhere.
func references(objects []meta.Object) (problems []error) {
	problem := func(format string, arguments ...any) { problems = append(problems, fmt.Errorf(format, arguments...)) }
	named := map[string]bool{}
	var workloads []workload
	for _, object := range objects {
		key := fmt.Sprintf("%T %s", object, object.GetName())
		if named[key] {
			problem("%s: there are two of them", key)
		}
		named[key] = true
		switch object := object.(type) {
		case *apps.Deployment:
			workloads = append(workloads, workload{object.Name, object.Spec.Selector, object.Spec.Template, nil, ""})
		case *apps.StatefulSet:
			spec := object.Spec
			workloads = append(workloads, workload{object.Name, spec.Selector, spec.Template, spec.VolumeClaimTemplates, spec.ServiceName})
		}
	}
	for _, work := range workloads {
		if !selects(work.selector, work.pod.Labels) {
			problem("%s: its selector does not match its pods", work.name)
		}
		if work.service != "" && !named["*v1.Service "+work.service] {
			problem("%s: there is no service %s", work.name, work.service)
		}
		if account := work.pod.Spec.ServiceAccountName; account != "default" && !named["*v1.ServiceAccount "+account] {
			problem("%s: there is no service account %s", work.name, account)
		}
		problems = append(problems, podProblems(work, named)...)
	}
	podsWith := func(selector map[string]string) (found []workload) {
		for _, work := range workloads {
			if labels.SelectorFromSet(selector).Matches(labels.Set(work.pod.Labels)) {
				found = append(found, work)
			}
		}
		return found
	}
	services := map[string]*core.Service{}
	for _, object := range objects {
		if service, ok := object.(*core.Service); ok {
			services[service.Name] = service
			backends := podsWith(service.Spec.Selector)
			if len(backends) == 0 {
				problem("service %s: it selects no pods", service.Name)
			}
			for _, work := range backends {
				for _, port := range service.Spec.Ports {
					if !hasPort(work, port.TargetPort) {
						problem("service %s: %s has no port %s", service.Name, work.name, port.TargetPort.String())
					}
				}
			}
		}
	}
	for _, object := range objects {
		switch object := object.(type) {
		case *networking.Ingress:
			for _, rule := range object.Spec.Rules {
				for _, path := range rule.HTTP.Paths {
					backend := path.Backend.Service
					if !serves(services[backend.Name], backend.Port.Name, backend.Port.Number) {
						problem("ingress %s: nothing at %s", object.Name, backend.Name)
					}
				}
			}
		case *gateway.HTTPRoute:
			for _, rule := range object.Spec.Rules {
				for _, backend := range rule.BackendRefs {
					if backend.Port == nil || !serves(services[string(backend.Name)], "", int32(*backend.Port)) {
						problem("route %s: nothing at %s", object.Name, backend.Name)
					}
				}
			}
		case *monitoring.ServiceMonitor:
			found := false
			for _, service := range services {
				for _, endpoint := range object.Spec.Endpoints {
					found = found || selects(&object.Spec.Selector, service.Labels) && serves(service, endpoint.Port, 0)
				}
			}
			if !found {
				problem("service monitor %s: it selects no port of a service", object.Name)
			}
		case *policy.PodDisruptionBudget:
			if len(podsWith(object.Spec.Selector.MatchLabels)) == 0 {
				problem("disruption budget %s: it selects no pods", object.Name)
			}
		case *networking.NetworkPolicy:
			if len(podsWith(object.Spec.PodSelector.MatchLabels)) == 0 {
				problem("network policy %s: it selects no pods", object.Name)
			}
			for _, work := range workloads {
				for _, rule := range object.Spec.Ingress {
					for _, port := range rule.Ports {
						if !hasPort(work, *port.Port) {
							problem("network policy %s: %s has no port %s", object.Name, work.name, port.Port.String())
						}
					}
				}
			}
		case *autoscaling.HorizontalPodAutoscaler:
			target := object.Spec.ScaleTargetRef
			if !named[fmt.Sprintf("*v1.%s %s", target.Kind, target.Name)] {
				problem("autoscaler %s: there is no %s %s", object.Name, target.Kind, target.Name)
			}
		case *rbac.RoleBinding:
			if !named["*v1.Role "+object.RoleRef.Name] {
				problem("role binding %s: there is no role %s", object.Name, object.RoleRef.Name)
			}
			for _, subject := range object.Subjects {
				if subject.Name != "default" && !named[fmt.Sprintf("*v1.%s %s", subject.Kind, subject.Name)] {
					problem("role binding %s: there is no %s %s", object.Name, subject.Kind, subject.Name)
				}
			}
		}
	}
	return problems
}

// podProblems checks volumes, probes, and what every container here promises.
func podProblems(work workload, named map[string]bool) (problems []error) {
	volumes := map[string]bool{}
	for _, claim := range work.claims {
		volumes[claim.Name] = true
	}
	for _, volume := range work.pod.Spec.Volumes {
		volumes[volume.Name] = true
		if volume.ConfigMap != nil && !named["*v1.ConfigMap "+volume.ConfigMap.Name] {
			problems = append(problems, fmt.Errorf("%s: there is no config map %s", work.name, volume.ConfigMap.Name))
		}
	}
	for _, container := range work.pod.Spec.Containers {
		at := work.name + "/" + container.Name
		for _, mount := range container.VolumeMounts {
			if !volumes[mount.Name] {
				problems = append(problems, fmt.Errorf("%s: there is no volume %s", at, mount.Name))
			}
		}
		for _, probe := range []*core.Probe{container.StartupProbe, container.LivenessProbe, container.ReadinessProbe} {
			if probe != nil && !hasPort(workload{pod: core.PodTemplateSpec{Spec: core.PodSpec{Containers: []core.Container{container}}}}, probe.HTTPGet.Port) {
				problems = append(problems, fmt.Errorf("%s: it is probed at a port that it does not have", at))
			}
		}
		if container.Name != "onezot" {
			continue
		}
		context := container.SecurityContext
		safe := context != nil && isTrue(context.RunAsNonRoot) && isTrue(context.ReadOnlyRootFilesystem) &&
			context.AllowPrivilegeEscalation != nil && !*context.AllowPrivilegeEscalation && context.Capabilities != nil &&
			len(context.Capabilities.Drop) == 1 && context.Capabilities.Drop[0] == "ALL"
		if !safe {
			problems = append(problems, fmt.Errorf("%s: it has more rights than it needs", at))
		}
		if strings.HasSuffix(container.Image, ":latest") || !strings.Contains(container.Image, ":") {
			problems = append(problems, fmt.Errorf("%s: its image has no version", at))
		}
	}
	return problems
}

func isTrue(value *bool) bool { return value != nil && *value }

func selects(selector *meta.LabelSelector, set map[string]string) bool {
	parsed, err := meta.LabelSelectorAsSelector(selector)
	return err == nil && !parsed.Empty() && parsed.Matches(labels.Set(set))
}

// hasPort tells whether a container has the port, by name or by number.
func hasPort(work workload, port intstr.IntOrString) bool {
	for _, container := range work.pod.Spec.Containers {
		for _, own := range container.Ports {
			if port.Type == intstr.String && own.Name == port.StrVal || port.Type == intstr.Int && own.ContainerPort == port.IntVal {
				return true
			}
		}
	}
	return false
}

// serves tells whether the service has the port, by name or by number.
func serves(service *core.Service, name string, number int32) bool {
	if service == nil {
		return false
	}
	for _, port := range service.Spec.Ports {
		if name != "" && port.Name == name || number != 0 && port.Port == number {
			return true
		}
	}
	return false
}

// join makes one error of several, a line each.
func join(problems []error) error {
	if len(problems) == 0 {
		return nil
	}
	lines := make([]string, len(problems))
	for i, problem := range problems {
		lines[i] = problem.Error()
	}
	return errors.New(strings.Join(lines, "\n  "))
}
