package admin

import (
	"bytes"
	"image/color"
	"image/png"
	"strings"
	"testing"
)

func TestQR(t *testing.T) {
	f := newFixture(t)
	f.want(t, 201, "POST", "/v1/links", f.admin, `{"code":"a/b","url":"https://example.com/"}`)
	body := f.send("GET", "/v1/links/a%2Fb/qr.png?size=200&margin=4&ec=H&fg=102030&bg=%23fff", f.read, "")
	image, err := png.Decode(bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatalf("%d %q: %v", f.lastStatus, body, err)
	}
	if size := image.Bounds().Size(); size.X != 200 || size.Y != 200 || f.lastHeader.Get("Content-Type") != "image/png" {
		t.Errorf("%v %v", size, f.lastHeader)
	}
	corner := color.NRGBAModel.Convert(image.At(0, 0))
	if corner != (color.NRGBA{255, 255, 255, 255}) {
		t.Errorf("margin is %v", corner)
	}
	body = f.send("GET", "/v1/links/a%2Fb/qr.svg?fg=102030", f.read, "")
	if f.lastHeader.Get("Content-Type") != "image/svg+xml" || !strings.Contains(body, "<svg") || !strings.Contains(body, "#102030") {
		t.Errorf("%v %s", f.lastHeader, body)
	}
	for query, field := range map[string]string{"size=1": "size", "size=x": "size", "margin=99": "margin", "ec=Z": "ec", "fg=red": "fg", "bg=0": "bg", "zoom=2": "zoom"} {
		f.wantFault(t, 422, field, "GET", "/v1/links/a%2Fb/qr.svg?"+query, f.read, "")
	}
	f.wantFault(t, 404, "code", "GET", "/v1/links/nope/qr.svg", f.read, "")
}
