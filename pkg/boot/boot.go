// Package boot is what every Berth process needs before it is a registry: its
// configuration, logs, traces, metrics, health, listeners and orderly stop.
package boot
