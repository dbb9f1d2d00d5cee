// Package boot has what every Berth process needs: configuration, logs, traces,
// metrics, health, listeners and an orderly stop.
package boot
