package api

import (
	"errors"
	"fmt"
	"net/http"
)

// Code names a class of failure. It is part of the wire format.
type Code string

// The codes that a RedFlag server answers with.
const (
	// CodeInvalid says the request is malformed; repeating it cannot help.
	CodeInvalid Code = "invalid_argument"
	// CodeUnauthenticated says the caller did not prove who it is.
	CodeUnauthenticated Code = "unauthenticated"
	// CodeDenied says the caller is known and may not do this.
	CodeDenied Code = "permission_denied"
	// CodeNotFound says the named thing does not exist.
	CodeNotFound Code = "not_found"
	// CodeConflict says the change contradicts the present state.
	CodeConflict Code = "conflict"
	// CodeStale says the caller's If-Match names an older version.
	CodeStale Code = "stale"
	// CodeTooLarge says the request exceeds a configured size.
	CodeTooLarge Code = "too_large"
	// CodeUnavailable says this server cannot answer now; another one might.
	CodeUnavailable Code = "unavailable"
	// CodeBehind says this server's state is older than the caller has seen.
	CodeBehind Code = "behind"
	// CodeIndeterminate says that the outcome is unknown: the change may or
	// may not have been committed. Repeat it with the same id.
	CodeIndeterminate Code = "indeterminate"
	// CodeRateLimited says the caller asks too often.
	CodeRateLimited Code = "rate_limited"
	// CodeInternal is a defect or a broken disk; the log has the cause.
	CodeInternal Code = "internal"
)

var statusOfCode = map[Code]int{
	CodeInvalid:         http.StatusBadRequest,
	CodeUnauthenticated: http.StatusUnauthorized,
	CodeDenied:          http.StatusForbidden,
	CodeNotFound:        http.StatusNotFound,
	CodeConflict:        http.StatusConflict,
	CodeStale:           http.StatusPreconditionFailed,
	CodeTooLarge:        http.StatusRequestEntityTooLarge,
	CodeUnavailable:     http.StatusServiceUnavailable,
	CodeBehind:          http.StatusMisdirectedRequest,
	CodeIndeterminate:   http.StatusGatewayTimeout,
	CodeRateLimited:     http.StatusTooManyRequests,
	CodeInternal:        http.StatusInternalServerError,
}

// HTTPStatus returns the status line that carries the code.
func (c Code) HTTPStatus() int {
	if s, ok := statusOfCode[c]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// CodeOfStatus returns the code for an answer that carries no Error body,
// such as one from a proxy.
func CodeOfStatus(status int) Code {
	for c, s := range statusOfCode {
		if s == status {
			return c
		}
	}
	if status >= 400 && status < 500 {
		return CodeInvalid
	}
	return CodeUnavailable
}

// Error is what a caller is told when something fails. Message says what
// happened, Hint what to do next. Neither holds a secret or an internal path.
type Error struct {
	Code    Code   `json:"code" cbor:"1,keyasint"`
	Message string `json:"message" cbor:"2,keyasint"`
	Hint    string `json:"hint,omitempty" cbor:"3,keyasint,omitempty"`
	// RetryAfter is how long the caller should leave this server alone. Over
	// HTTP it is the header of that name.
	RetryAfter Duration `json:"-" cbor:"-"`
}

// Problem is an Error as HTTP carries it: problem details by RFC 9457, with the
// Error's own fields beside them.
type Problem struct {
	Type   string `json:"type"`   // urn:redflag:problem: and the code
	Title  string `json:"title"`  // the same for every problem of a code
	Status int    `json:"status"` // of HTTP
	Detail string `json:"detail"` // what happened this time
	Error
	// CorrelationID finds the log lines of the request.
	CorrelationID string `json:"correlation_id,omitempty"`
}

// NewProblem makes e ready for HTTP.
func NewProblem(e *Error, correlation string) Problem {
	status := e.Code.HTTPStatus()
	return Problem{
		Type: "urn:redflag:problem:" + string(e.Code), Title: http.StatusText(status), Status: status,
		Detail: e.Message, Error: *e, CorrelationID: correlation,
	}
}

// Error implements the error interface.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Message
	}
	return e.Message + " (" + e.Hint + ")"
}

// Errorf makes an Error with a formatted message.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// WithHint returns a copy of e that tells the caller what to do next.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// CodeOf returns the code of the first Error in err's chain, CodeInternal for
// any other error, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}
