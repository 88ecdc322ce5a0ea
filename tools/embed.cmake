# Writes text files as C strings: -DOUT=file -DSOURCES=a;b -DNAMES=x;y. One literal a line, so no literal is too long.
set(text "/* Generated from the dialect files. */\n")
foreach(source name IN ZIP_LISTS SOURCES NAMES)
  file(READ ${source} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(REGEX REPLACE "(................................................................................)" "\\1\n" bytes "${bytes}")
  string(APPEND text "extern const char ${name}[];\nconst char ${name}[] = {\n${bytes}0};\n")
endforeach()
file(WRITE ${OUT} "${text}")
