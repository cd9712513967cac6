// Package otlp hands log lines, metrics and spans to an OpenTelemetry collector
// by OTLP over HTTP, protobuf encoded (opentelemetry.io/docs/specs/otlp).
//
// It must never block who gives it something: its queues are bounded, what does
// not fit is dropped and counted. It keeps nothing on disk, and the credentials
// that it sends are in no log line and no error.
package otlp
