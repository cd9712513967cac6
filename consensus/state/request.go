package state

// RequestOf returns what an entry does, in a word, and the correlation id of
// the request that asked for it: "" for entries that nobody asked for, and for
// the many that come with every poll.
func RequestOf(entry []byte) (what, correlation string) {
	switch TypeOfEntry(entry) {
	case TypeCreateRollout, TypeEditSettings:
	default:
		return "", ""
	}
	_, b, err := decodeEntry(entry)
	if err != nil {
		return "", ""
	}
	switch e := b.(type) {
	case CreateRollout:
		return "rollout " + e.ID, e.CorrelationID
	case EditSettings:
		return "settings", e.CorrelationID
	default:
		return "", ""
	}
}
