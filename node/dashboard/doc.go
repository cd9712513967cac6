// Package dashboard serves the operators' web pages. It owns their source, the
// build of it that the binary embeds, and the headers that keep a page from
// loading or telling anything elsewhere. It must never answer with data of the
// cluster: the pages ask the operator API for that, as the CLI does.
package dashboard
