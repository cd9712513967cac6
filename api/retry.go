package api

import "time"

// RetryRule says how often a command that failed for one reason is repeated
// by itself, and how long after. The wait doubles from Base up to Limit, and
// between half and all of it is waited, so that agents do not come back at once.
type RetryRule struct {
	Tries int      `json:"tries" cbor:"1,keyasint"` // the first one included
	Base  Duration `json:"base" cbor:"2,keyasint"`
	Limit Duration `json:"limit" cbor:"3,keyasint"`
}

// RetryPolicy is the rules by class of failure. A class without one is final.
type RetryPolicy map[ErrorClass]RetryRule

// DefaultRetries repeats what time can mend: a link, a full disk, a machine
// that was busy. A wrong signature or an unknown kind stays what it is.
func DefaultRetries() RetryPolicy {
	return RetryPolicy{
		ErrorNetwork: {Tries: 4, Base: Duration(time.Minute), Limit: Duration(30 * time.Minute)},
		ErrorDisk:    {Tries: 3, Base: Duration(10 * time.Minute), Limit: Duration(time.Hour)},
		ErrorInstall: {Tries: 2, Base: Duration(time.Minute), Limit: Duration(time.Minute)},
		ErrorRefused: {Tries: 6, Base: Duration(10 * time.Minute), Limit: Duration(2 * time.Hour)},
	}
}

// Validate returns a CodeInvalid error for a policy out of range.
func (p RetryPolicy) Validate() error {
	if len(p) > 16 {
		return Errorf(CodeInvalid, "%d retry rules are too many", len(p))
	}
	for class, r := range p {
		if !ValidID(string(class)) {
			return Errorf(CodeInvalid, "error class %.64q is not one", string(class))
		}
		if r.Tries < 1 || r.Tries > MaxTries || r.Base < 0 || r.Limit < r.Base || r.Limit > Duration(7*24*time.Hour) {
			return Errorf(CodeInvalid, "the retry rule for %s is out of range", class).
				WithHint("use 1 to %d tries, and waits of up to a week", MaxTries)
		}
	}
	return nil
}
