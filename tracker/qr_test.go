package tracker

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
)

// decodeQR reads a picture with a decoder of another origin. It is told that
// there is nothing else in the picture, since it takes some data for a corner
// mark otherwise.
func decodeQR(t *testing.T, picture image.Image) string {
	t.Helper()
	bitmap, err := gozxing.NewBinaryBitmapFromImage(picture)
	if err != nil {
		t.Fatal(err)
	}
	result, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true})
	if err != nil {
		t.Fatalf("no QR code found in %v: %v", picture.Bounds(), err)
	}
	return result.GetText()
}

var qrTexts = []string{
	"https://go.example/LOVE-7G2K9Q?qr=1",
	"https://go.example/l%C3%A9to/x?qr=1",
	"https://go.example/" + strings.Repeat("%E2%82%AC", 85) + "?qr=1",
}

func TestQRIsReadable(t *testing.T) {
	for _, text := range qrTexts {
		for _, change := range []func(q *QR){
			func(*QR) {},
			func(q *QR) { q.Size, q.Margin, q.Correction = 1000, 2, CorrectionH },
			func(q *QR) { q.Size, q.Margin, q.Correction = 777, 10, CorrectionL },
			func(q *QR) {
				q.Foreground, q.Background = color.NRGBA{B: 128, A: 255}, color.NRGBA{R: 255, G: 230, A: 255}
			},
		} {
			q := NewQR()
			change(&q)
			var encoded bytes.Buffer
			if err := q.WritePNG(&encoded, text); err != nil {
				t.Fatal(err)
			}
			picture, err := png.Decode(&encoded)
			if err != nil {
				t.Fatal(err)
			}
			if side := picture.Bounds(); side.Dx() != q.Size || side.Dy() != q.Size {
				t.Errorf("%v, want %d", side, q.Size)
			}
			if corner := color.NRGBAModel.Convert(picture.At(0, 0)); corner != q.Background {
				t.Errorf("the corner is %v", corner)
			}
			if got := decodeQR(t, picture); got != text {
				t.Errorf("the PNG says %q, want %q", got, text)
			}
			if got := decodeQR(t, drawSVG(t, &q, text)); got != text {
				t.Errorf("the SVG says %q, want %q", got, text)
			}
		}
	}
}

// drawSVG draws the paths of an SVG with four pixels per unit.
func drawSVG(t *testing.T, q *QR, text string) image.Image {
	t.Helper()
	var encoded bytes.Buffer
	if err := q.WriteSVG(&encoded, text); err != nil {
		t.Fatal(err)
	}
	var svg struct {
		XMLName xml.Name `xml:"http://www.w3.org/2000/svg svg"`
		Width   int      `xml:"width,attr"`
		ViewBox string   `xml:"viewBox,attr"`
		Path    []struct {
			D string `xml:"d,attr"`
		} `xml:"path"`
	}
	if err := xml.Unmarshal(encoded.Bytes(), &svg); err != nil {
		t.Fatal(err)
	}
	var side int
	if _, err := fmt.Sscanf(svg.ViewBox, "0 0 %d", &side); err != nil || svg.Width != q.Size || len(svg.Path) != 2 {
		t.Fatalf("%v: width %d, viewBox %q, %d paths", err, svg.Width, svg.ViewBox, len(svg.Path))
	}
	picture := image.NewGray(image.Rect(0, 0, 4*side, 4*side))
	for i := range picture.Pix {
		picture.Pix[i] = 255
	}
	for _, run := range regexp.MustCompile(`M(\d+) (\d+)h(\d+)v1h-(\d+)z`).FindAllStringSubmatch(svg.Path[1].D, -1) {
		var n [4]int
		for i := range n {
			n[i], _ = strconv.Atoi(run[1+i])
		}
		if n[2] != n[3] {
			t.Fatalf("run %s is no rectangle", run[0])
		}
		for y := 4 * n[1]; y < 4*n[1]+4; y++ {
			for x := 4 * n[0]; x < 4*(n[0]+n[2]); x++ {
				picture.SetGray(x, y, color.Gray{})
			}
		}
	}
	return picture
}

func TestQRFaults(t *testing.T) {
	q := NewQR()
	q.Size = 32
	var fault *FieldError
	if err := q.WritePNG(new(bytes.Buffer), qrTexts[0]); !errors.As(err, &fault) || fault.Field != "size" {
		t.Errorf("a picture too small gives %v", err)
	}
	q = NewQR()
	q.Correction = CorrectionH
	if err := q.WriteSVG(new(bytes.Buffer), strings.Repeat("x", 1274)); !errors.As(err, &fault) || fault.Field != "ec" {
		t.Errorf("a text too long gives %v", err)
	}
}

func TestParseQR(t *testing.T) {
	parse := func(query map[string]string) (QR, error) {
		return ParseQR(func(name string) string { return query[name] })
	}
	if q, err := parse(nil); err != nil || q != NewQR() {
		t.Errorf("no parameters give %+v, %v", q, err)
	}
	q, err := parse(map[string]string{"size": "300", "margin": "0", "ec": "h", "fg": "#1a2", "bg": "ffeedd80"})
	want := QR{Size: 300, Correction: CorrectionH, Foreground: color.NRGBA{0x11, 0xaa, 0x22, 0xff}, Background: color.NRGBA{0xff, 0xee, 0xdd, 0x80}}
	if err != nil || q != want {
		t.Errorf("read as %+v, %v", q, err)
	}
	for field, values := range map[string][]string{
		"size": {"0", "31", "4097", "x", "1e3", "-1", "99999999999999999999"}, "margin": {"-1", "33", "a"},
		"ec": {"X", "LM", "1"}, "fg": {"red", "12", "#12345", "gggggg", "fff", "1122334455"}, "bg": {"é", "##000"},
	} {
		for _, value := range values {
			_, err := parse(map[string]string{field: value})
			wantFault(t, err, field)
		}
	}
}

func TestScanURL(t *testing.T) {
	for _, c := range []struct{ base, domain, code, want string }{
		{"https://go.example", "", "LOVE-7G", "https://go.example/LOVE-7G?qr=1"},
		{"http://127.0.0.1:8080/", "", "a/é&b", "http://127.0.0.1:8080/a/%C3%A9&b?qr=1"},
		{"https://go.example/r", "", "a", "https://go.example/r/a?qr=1"},
		{"https://go.example", "my.example", "a", "https://my.example/a?qr=1"},
		{"http://127.0.0.1:8080", "my.example", "a", "http://my.example:8080/a?qr=1"},
		{"go.example", "", "a", ""}, {"", "", "a", ""},
	} {
		got, err := (&Link{Domain: c.domain, Code: c.code}).ScanURL(c.base)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q at %q is %q, %v", c.code, c.base, got, err)
		}
	}
}

func FuzzParseQR(f *testing.F) {
	f.Add("512", "4", "M", "#000000", "fff")
	f.Add("-1", "é", "", "00000080", "#")
	f.Fuzz(func(t *testing.T, size, margin, ec, fg, bg string) {
		query := map[string]string{"size": size, "margin": margin, "ec": ec, "fg": fg, "bg": bg}
		q, err := ParseQR(func(name string) string { return query[name] })
		if err != nil {
			if _, ok := err.(*FieldError); !ok {
				t.Fatal(err)
			}
			return
		}
		if q.Size > 512 {
			return // large pictures take long and are no different
		}
		if err := q.WritePNG(new(bytes.Buffer), "x"); err != nil {
			if _, ok := err.(*FieldError); !ok {
				t.Fatal(err)
			}
		}
	})
}
