package engine

import "strings"

// rowFunctions are the functions that a user of some rows may call, beside all aggregate and window functions and the operators.
//
// A filter hides rows, but not quite everything that is in them: a LowCardinality column keeps the texts of all rows of its
// part in a dictionary, and a function of such a column runs on the dictionary. One that fails, or says in its error what
// it failed on (throwIf, base64Decode, leftPad), tells of texts that the filter hid; ClickHouse's own row policies have the
// same hole. So functions are those that fail on no value, or that the engine runs on the texts of the rows alone
// (conversions, divisions), and that look up nothing: no setting, file, dictionary or table.
//
// A list of what is refused was rejected: the engine has 1,700 functions, and more with each version.
var rowFunctions = wordSet(`
	and or xor not if multiif ifnull nullif coalesce isnull isnotnull isnullable iszeroornull assumenotnull tonullable
	equals notequals less greater lessorequals greaterorequals isdistinctfrom isnotdistinctfrom in notin like notlike ilike notilike match
	plus minus multiply divide intdiv modulo negate abs sign least greatest round floor ceil ceiling trunc truncate sqrt cbrt exp
	log ln log2 log10 pow power isnan isinfinite isfinite ifnotfinite intdivorzero moduloorzero bitand bitor bitxor bitnot

	toint8 toint16 toint32 toint64 touint8 touint16 touint32 touint64 tofloat32 tofloat64 tostring tobool
	toint32orzero toint64orzero toint32ornull toint64ornull touint32orzero touint64orzero touint32ornull touint64ornull tofloat64orzero
	tofloat64ornull todatetimeornull todateornull todateorzero todatetimeorzero
	todecimal32 todecimal64 todecimal128 todate todate32 todatetime todatetime64 cast tolowcardinality totypename materialize

	length lengthutf8 char_length character_length empty notempty lower upper lowerutf8 upperutf8 lcase ucase concat concatwithseparator concat_ws
	substring substr mid substringutf8 left right leftutf8 rightutf8 position positioncaseinsensitive locate startswith endswith
	trim trimleft trimright trimboth ltrim rtrim replaceone replaceall replace reverse splitbychar splitbystring arraystringconcat
	domain domainwithoutwww topleveldomain protocol path cuttofirstsignificantsubdomain formatreadablesize formatreadablequantity

	now now64 today yesterday current_date current_timestamp timezone totimezone toyear tomonth todayofmonth todayofweek todayofyear
	tohour tominute tosecond toweek toisoweek toisoyear toquarter toyyyymm toyyyymmdd year month day dayofmonth dayofweek
	dayofyear hour minute second quarter week yearweek monthname formatdatetime date_format date_trunc datetrunc
	tomonday tostartofminute tostartofhour tostartofday tostartofweek tostartofmonth tostartofquarter tostartofyear tostartofisoyear
	tostartoffiveminutes tostartoftenminutes tostartoffifteenminutes tostartofinterval tolastdayofmonth date_diff datediff
	timestampdiff timestamp_diff age addseconds addminutes addhours adddays addweeks addmonths addquarters
	addyears subtractseconds subtractminutes subtracthours subtractdays subtractweeks subtractmonths subtractyears
	tounixtimestamp tounixtimestamp64milli fromunixtimestamp fromunixtimestamp64milli
	tointervalsecond tointervalminute tointervalhour tointervalday tointervalweek tointervalmonth tointervalquarter tointervalyear

	array arrayjoin arrayelement range has hasall hasany indexof arrayconcat arrayslice arrayreverse arraysort arrayreversesort arraydistinct
	arraymap arrayfilter arraycount arraysum arrayavg arraymin arraymax arrayexists arrayall arrayfirst arraylast arrayenumerate
	arraycumsum arraydifference arrayzip arrayuniq arraypushback arraypushfront arrayfold
	tuple tupleelement map mapkeys mapvalues mapcontains ignore identity transform rownumberinallblocks neighbor
	bitmasktoarray cityhash64 siphash64 xxhash64 hex date format extract exists
	version revision displayname currentdatabase currentuser
`)

func wordSet(text string) map[string]bool {
	set := make(map[string]bool)
	for _, word := range strings.Fields(text) {
		set[word] = true
	}
	return set
}
