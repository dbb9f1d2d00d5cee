package testserver

// For the fuzz test.
var (
	ReadFrame    = readFrame
	SplitCommand = splitCommand
)
