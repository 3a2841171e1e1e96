package engine

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// Codes of ClickHouse's own list (`SELECT errorCodeToName(n)`) that the HTTP front raises itself.
const (
	codeCannotReadAll        = 33
	codeNotImplemented       = 48
	codeSyntaxError          = 62
	codeUnknownFormat        = 73
	codeIncorrectData        = 117
	codeReadonly             = 164
	codeTooManyQueries       = 202
	codeQueryTooLarge        = 229
	codeCannotDecompress     = 271
	codeCannotSchedule       = 439
	codeSupportIsDisabled    = 344
	codeIntoOutfile          = 358
	codeQueryCancelled       = 394
	codeAccessDenied         = 497
	codeAuthenticationFailed = 516
	codeUnknownException     = 1002
)

// Exception is an error of ClickHouse: of the engine, or of the HTTP front in the engine's words, so that a client reads
// one kind of error only.
type Exception struct {
	Code    int    // number in ClickHouse's list
	Message string // the whole text, beginning with "Code: N. DB::Exception: "
}

func (e *Exception) Error() string { return e.Message }

// exceptionf raises an exception of the front. The name is ClickHouse's symbol for the code.
func exceptionf(code int, name, format string, args ...any) *Exception {
	text := fmt.Sprintf(format, args...)
	return &Exception{Code: code, Message: fmt.Sprintf("Code: %d. DB::Exception: %s. (%s)", code, text, name)}
}

var codePrefix = regexp.MustCompile(`^Code: (\d+)\. `)

// parseException reads the engine's error text. Text without a code (an exception of the C++ library, say) is kept whole.
func parseException(text string) *Exception {
	text = strings.TrimSpace(text)
	match := codePrefix.FindStringSubmatch(text)
	if match != nil {
		if code, err := strconv.Atoi(match[1]); err == nil && code > 0 {
			return &Exception{Code: code, Message: text}
		}
	}
	return exceptionf(codeUnknownException, "UNKNOWN_EXCEPTION", "%s", text)
}

// asException gives any error as an exception; what is not one already becomes UNKNOWN_EXCEPTION.
func asException(err error) *Exception {
	var e *Exception
	if errors.As(err, &e) {
		return e
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return exceptionf(codeCannotReadAll, "CANNOT_READ_ALL_DATA", "The request ends too early: %v", err)
	}
	return exceptionf(codeUnknownException, "UNKNOWN_EXCEPTION", "%v", err)
}

// httpStatus is ClickHouse's mapping of exception codes to HTTP status codes, with one deviation: too many queries are
// 503 where ClickHouse says 500, because that is the status clients retry.
func httpStatus(code int) int {
	switch code {
	case 194: // REQUIRED_PASSWORD
		return http.StatusUnauthorized
	case 192, 193, codeAccessDenied, 512, codeAuthenticationFailed: // users, passwords, ACCESS_DENIED, roles
		return http.StatusForbidden
	case 6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, codeSyntaxError, 72, codeIncorrectData, 123, 167, 168, 223, 321,
		376, 427, 441, 675, 676: // what the client wrote cannot be read
		return http.StatusBadRequest
	case 46, 47, 50, 56, 60, 63, codeUnknownFormat, 78, 81, 115, 152, 336, 511: // UNKNOWN_…
		return http.StatusNotFound
	case 159: // TIMEOUT_EXCEEDED
		return http.StatusRequestTimeout
	case 381: // HTTP_LENGTH_REQUIRED
		return http.StatusLengthRequired
	case codeQueryTooLarge:
		return http.StatusRequestEntityTooLarge
	case codeNotImplemented:
		return http.StatusNotImplemented
	case 76, 209, codeCannotSchedule, codeTooManyQueries: // CANNOT_OPEN_FILE, SOCKET_TIMEOUT, CANNOT_SCHEDULE_TASK
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
