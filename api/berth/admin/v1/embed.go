// Package adminv1 is the admin API: its messages, gRPC service, REST gateway
// and OpenAPI document, all generated from the .proto files beside it.
package adminv1

import _ "embed"

// OpenAPI is the API's description in OpenAPI 2.0, as JSON.
//
//go:embed openapi.swagger.json
var OpenAPI []byte
