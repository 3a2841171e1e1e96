package fault

import (
	"bytes"
	"encoding/binary"
	"testing"
	"testing/iotest"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzReadRequest: what is taken for a request is one that kfake can name, all
// of it and no byte more, however the network cuts it.
func FuzzReadRequest(f *testing.F) {
	request := kmsg.NewMetadataRequest()
	good := kmsg.NewRequestFormatter().AppendRequest(nil, &request, 1)
	f.Add(good)
	f.Add(append(bytes.Clone(good), good...))
	f.Add(good[:11])
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := readRequest(bytes.NewReader(in))
		slow, slowErr := readRequest(iotest.OneByteReader(bytes.NewReader(in)))
		if !bytes.Equal(got, slow) || (err == nil) != (slowErr == nil) {
			t.Fatalf("%x, %v at once and %x, %v byte by byte", got, err, slow, slowErr)
		}
		if err != nil {
			return
		}
		if !bytes.HasPrefix(in, got) || len(got) != 4+int(binary.BigEndian.Uint32(in)) {
			t.Fatalf("%x is not the first request of %x", got, in)
		}
		if kmsg.RequestForKey(int16(binary.BigEndian.Uint16(got[4:]))) == nil {
			t.Fatalf("%x has a kind that is none", got)
		}
	})
}
