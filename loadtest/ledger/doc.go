// Package ledger is the file in which a load test writes down what it was
// promised: every click that was answered with a redirect and every action that
// was accepted. Comparing it with ClickHouse shows what was lost or doubled.
//
// A ledger is text, one record a line, fields separated by tabs, none of them
// quoted: no field may hold a control character. The first line is the header,
// whose second field is the version of the format:
//
//	waymark-ledger  1  RUN  PROGRAM  STARTED_MS
//
// RUN is the name of the run, of lower-case letters and digits, and begins the id
// of every action, followed by a hyphen. PROGRAM is the programme that the run
// made for itself, so that nobody else has events in it. Times are Unix
// milliseconds. The other lines are one of
//
//	click   ANSWERED_MS  STATUS  EVENT  CLICK_ID  METHOD  CODE
//	action  ANSWERED_MS  STATUS  EVENT  CLICK_ID  WAY     ID  ORDER_ID  USER_ID  VALUE  TIME_MS
//	open-click   SENT_MS  0  …
//	open-action  SENT_MS  0  …
//	end     LINES
//
// with the fields that do not apply left empty. EVENT of a click is click or
// scan, METHOD is GET or HEAD, CODE is as written in the path. WAY of an action
// is events, postback or pixel, VALUE is a decimal, TIME_MS is the time that was
// sent with it, 0 for none. An open request was sent and its answer never came, or
// said that the server had failed over it: what it asked for may have happened or
// not. The same action may stand there more than once, since clients send again
// what they are unsure of; it shall count once.
//
// The last line counts the lines between header and end. Where it is missing the
// generator died, and what was answered in its last moments is missing too.
package ledger
