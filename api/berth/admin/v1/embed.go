// Package adminv1 is the admin API: its messages, gRPC service, REST gateway
// and OpenAPI documents, all generated from the .proto files beside it.
package adminv1

import _ "embed"

// OpenAPI is the API's description in OpenAPI 2.0, as JSON.
//
//go:embed openapi.swagger.json
var OpenAPI []byte

// OpenAPI31 is the same description in OpenAPI 3.1, as JSON.
//
//go:embed openapi-3.1.json
var OpenAPI31 []byte
