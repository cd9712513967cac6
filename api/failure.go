package api

import (
	"errors"
	"fmt"
)

// classError is an error whose class is known where it arises.
type classError struct {
	class ErrorClass
	err   error
}

// Error implements error.
func (e *classError) Error() string { return e.err.Error() }

// Unwrap implements the contract of package errors.
func (e *classError) Unwrap() error { return e.err }

// Class names the class.
func (e *classError) Class() ErrorClass { return e.class }

// Failf makes an error of a class; its format may wrap others with %w.
func Failf(class ErrorClass, format string, args ...any) error {
	return &classError{class, fmt.Errorf(format, args...)}
}

// ClassOf returns the class of the outermost error in err's chain that has
// one: a method Class() ErrorClass. It is "" where none has.
func ClassOf(err error) ErrorClass {
	var c interface{ Class() ErrorClass }
	if errors.As(err, &c) {
		return c.Class()
	}
	return ""
}
