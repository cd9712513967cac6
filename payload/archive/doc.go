// Package archive measures and unpacks tar, tar.gz, tar.zst and zip files that
// nobody has to trust.
//
// It owns the rules of what an archive may do to a folder: only plain files,
// folders and links that stay inside, and never more bytes or entries than
// were declared. It must never write outside the folder that it is given, and
// never keep an owner, a set-id bit or a device.
package archive
