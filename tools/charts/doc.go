// Package charts tests the Helm chart in deployments/helm/berth: it renders the
// chart with helm and gives what every container would get to Berth's own
// configuration.
package charts
