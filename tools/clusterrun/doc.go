// Package clusterrun runs whole clusters of Berth processes on Postgres, S3 and
// Redis under load, while nodes and servers are killed, stopped, restarted and
// failed over. A ledger of every acknowledged write, the quota and berth fsck
// decide whether anything was lost (contract rows R2, R12, R13, R15, R20, R21
// and R46 at the level of deployments). Its tests measure times: run them alone,
// with make clusterrun.
package clusterrun
