package tracker

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
)

// WritePNG draws the QR code of a text as a square PNG of Size pixels. Modules
// have a whole number of pixels, what is left over widens the margin. Errors
// are *FieldError, or those of w.
func (q QR) WritePNG(w io.Writer, text string) error {
	rows, err := q.matrix(text)
	if err != nil {
		return err
	}
	scale := q.Size / (len(rows) + 2*q.Margin)
	if scale < 1 {
		return fieldErrorf("size", "must be at least %d for this link and margin", len(rows)+2*q.Margin)
	}
	picture := image.NewPaletted(image.Rect(0, 0, q.Size, q.Size), color.Palette{q.Background, q.Foreground})
	corner := (q.Size - scale*len(rows)) / 2
	for y, row := range rows {
		for x, dark := range row {
			if dark {
				fillSquare(picture, corner+x*scale, corner+y*scale, scale)
			}
		}
	}
	return png.Encode(w, picture)
}

func fillSquare(picture *image.Paletted, left, top, side int) {
	for y := top; y < top+side; y++ {
		at := picture.PixOffset(left, y)
		for i := range side {
			picture.Pix[at+i] = 1
		}
	}
}

// WriteSVG draws the QR code of a text as an SVG of Size pixels. Errors are
// *FieldError, or those of w.
func (q QR) WriteSVG(w io.Writer, text string) error {
	rows, err := q.matrix(text)
	if err != nil {
		return err
	}
	side := len(rows) + 2*q.Margin
	var svg bytes.Buffer
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" shape-rendering="crispEdges">`,
		q.Size, q.Size, side, side)
	fmt.Fprintf(&svg, `<path %s d="M0 0h%dv%dh-%dz"/><path %s d="`, svgFill(q.Background), side, side, side, svgFill(q.Foreground))
	for y, row := range rows {
		for x := 0; x < len(row); {
			length := 0
			for x+length < len(row) && row[x+length] {
				length++
			}
			if length > 0 {
				fmt.Fprintf(&svg, "M%d %dh%dv1h-%dz", x+q.Margin, y+q.Margin, length, length)
			}
			x += length + 1
		}
	}
	svg.WriteString(`"/></svg>` + "\n")
	_, err = w.Write(svg.Bytes())
	return err
}

func svgFill(c color.NRGBA) string {
	fill := fmt.Sprintf(`fill="#%02x%02x%02x"`, c.R, c.G, c.B)
	if c.A != 255 {
		fill += fmt.Sprintf(` fill-opacity="%.3f"`, float64(c.A)/255)
	}
	return fill
}
