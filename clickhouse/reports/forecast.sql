-- The weeks to come; the view explains every column. The limit is one of programmes, largest first. The start of the
-- period hides the history before it, from which is learnt all the same.
SELECT
    program, kind, toDateTime(week, {tz:String}) AS week, lead, actual, forecast, baseline, expected, low, high, winner,
    forecast_mae, baseline_mae, forecast_wape, baseline_wape
FROM
(
    SELECT *, sum(if(kind = 'history', actual, 0)) OVER (PARTITION BY program) AS size
    FROM waymark.forecast_weeks(program = {program:String}, measure = {measure:String}, hits = {hits:String},
        weeks = {weeks:UInt8}, tz = {tz:String}, until = {to:DateTime64(3, 'UTC')}) AS f
) AS w
WHERE kind != 'history' OR w.week >= toDate({from:DateTime64(3, 'UTC')}, {tz:String})
QUALIFY dense_rank() OVER (ORDER BY size DESC, program) <= {limit:UInt64}
ORDER BY size DESC, program, kind = 'forecast', kind = 'holdout', w.week, lead
