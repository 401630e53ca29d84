// SPDX-License-Identifier: Apache-2.0

// Package gen holds what is generated from proto/, for those who generate code of their own: the public protos without
// field rules (gen/proto), and a descriptor set of them and their imports (gen/classrec.binpb). It guarantees that both
// are those of the same build; serving them is the gateway's.
package gen

import (
	"archive/zip"
	"bytes"
	"embed"
	"fmt"
	"io/fs"
)

//go:embed proto classrec.binpb
var files embed.FS

// ProtosZip returns a zip archive of proto/ and classrec.binpb. The same build gives the same bytes.
func ProtosZip() ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	if err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return addFile(w, name)
	}); err != nil {
		return nil, fmt.Errorf("zip protos: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("zip protos: %w", err)
	}
	return out.Bytes(), nil
}

func addFile(w *zip.Writer, name string) error {
	data, err := files.ReadFile(name)
	if err != nil {
		return err
	}
	entry, err := w.Create(name) // without a time, which would differ from build to build
	if err != nil {
		return err
	}
	_, err = entry.Write(data)
	return err
}
