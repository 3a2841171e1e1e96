package tracker

import (
	"encoding/hex"
	"fmt"
	"image/color"
	"net/url"
	"strconv"
	"strings"

	barcode "github.com/boombuler/barcode/qr"
)

// QR says how the QR code of a link looks.
type QR struct {
	Size       int // of a side, in pixels
	Margin     int // quiet zone around the code, in modules
	Correction QRCorrection
	Foreground color.NRGBA
	Background color.NRGBA
}

// QRCorrection is how much of a QR code may be dirty: L 7 %, M 15 %, Q 25 %,
// H 30 %.
type QRCorrection byte

const (
	CorrectionL QRCorrection = 'L'
	CorrectionM QRCorrection = 'M'
	CorrectionQ QRCorrection = 'Q'
	CorrectionH QRCorrection = 'H'
)

const (
	qrSizeMin, qrSizeMax = 32, 4096
	qrMarginMax          = 32
)

// NewQR returns the defaults; the margin is the one of ISO/IEC 18004.
func NewQR() QR {
	return QR{
		Size: 512, Margin: 4, Correction: CorrectionM,
		Foreground: color.NRGBA{A: 255}, Background: color.NRGBA{R: 255, G: 255, B: 255, A: 255},
	}
}

// ParseQR reads size, margin, ec, fg and bg from query parameters; parameter
// returns "" for one that is not given. Errors are *FieldError.
func ParseQR(parameter func(name string) string) (QR, error) {
	q := NewQR()
	if err := parseQRNumber("size", parameter("size"), qrSizeMin, qrSizeMax, &q.Size); err != nil {
		return q, err
	}
	if err := parseQRNumber("margin", parameter("margin"), 0, qrMarginMax, &q.Margin); err != nil {
		return q, err
	}
	if ec := strings.ToUpper(parameter("ec")); ec != "" {
		if len(ec) != 1 || !strings.Contains("LMQH", ec) {
			return q, fieldErrorf("ec", "must be L, M, Q or H")
		}
		q.Correction = QRCorrection(ec[0])
	}
	if err := parseQRColor("fg", parameter("fg"), &q.Foreground); err != nil {
		return q, err
	}
	if err := parseQRColor("bg", parameter("bg"), &q.Background); err != nil {
		return q, err
	}
	if q.Foreground == q.Background {
		return q, fieldErrorf("fg", "must differ from bg")
	}
	return q, nil
}

func parseQRNumber(field, text string, lowest, highest int, n *int) error {
	if text == "" {
		return nil
	}
	value, err := strconv.Atoi(text)
	if err != nil || value < lowest || value > highest {
		return fieldErrorf(field, "must be a number between %d and %d", lowest, highest)
	}
	*n = value
	return nil
}

// parseQRColor reads rgb, rrggbb or rrggbbaa in hexadecimal, with or without #,
// which has to be written %23 in a query.
func parseQRColor(field, text string, c *color.NRGBA) error {
	if text == "" {
		return nil
	}
	digits := strings.TrimPrefix(text, "#")
	if len(digits) == 3 {
		digits = string([]byte{digits[0], digits[0], digits[1], digits[1], digits[2], digits[2]})
	}
	if len(digits) == 6 {
		digits += "ff"
	}
	value, err := hex.DecodeString(digits)
	if err != nil || len(value) != 4 {
		return fieldErrorf(field, "must be a colour such as 000, 1a2b3c or 1a2b3c80")
	}
	*c = color.NRGBA{R: value[0], G: value[1], B: value[2], A: value[3]}
	return nil
}

// ScanURL is the address in a link's QR code: base is the public address of
// the installation, such as https://go.example. A link with a domain of its
// own has it in the place of base's host.
func (l *Link) ScanURL(base string) (string, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return "", fmt.Errorf("make the address of link %q: %q is no public address such as https://go.example", l.Key(), base)
	}
	if l.Domain != "" {
		host := l.Domain
		if port := u.Port(); port != "" {
			host += ":" + port
		}
		u.Host = host
	}
	var address strings.Builder
	address.WriteString(u.Scheme + "://" + u.Host + strings.TrimSuffix(u.EscapedPath(), "/"))
	for segment := range strings.SplitSeq(l.Code, "/") {
		address.WriteString("/" + url.PathEscape(segment))
	}
	address.WriteString("?qr=1")
	return address.String(), nil
}

// matrix is a QR code as rows of modules, true for dark.
func (q *QR) matrix(text string) ([][]bool, error) {
	level, ok := map[QRCorrection]barcode.ErrorCorrectionLevel{
		CorrectionL: barcode.L, CorrectionM: barcode.M, CorrectionQ: barcode.Q, CorrectionH: barcode.H,
	}[q.Correction]
	if !ok {
		return nil, fieldErrorf("ec", "must be L, M, Q or H")
	}
	code, err := barcode.Encode(text, level, barcode.Auto)
	if err != nil {
		return nil, fieldErrorf("ec", "%d bytes do not fit in a QR code at level %c: %v", len(text), q.Correction, err)
	}
	side := code.Bounds().Dx()
	rows := make([][]bool, side)
	for y := range rows {
		rows[y] = make([]bool, side)
		for x := range rows[y] {
			red, _, _, _ := code.At(x, y).RGBA()
			rows[y][x] = red == 0
		}
	}
	return rows, nil
}
